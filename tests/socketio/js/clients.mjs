// Stock Socket.IO clients, told what to do and telling what happens, a line of JSON each.
import { createInterface } from "node:readline";

const packages = {};
const clients = {};

function tell(what) {
  process.stdout.write(JSON.stringify(what) + "\n");
}

async function load(name) {
  const found = await import(name);
  return found.io ?? found.default.io ?? found.default;
}

function watch(client, socket) {
  const transport = () => socket.io.engine?.transport?.name;
  // The data of the server's CONNECT packet, which the client keeps to itself.
  socket.io.on("open", () =>
    socket.io.engine.on("data", (packet) => {
      if (typeof packet === "string" && packet.startsWith("0{"))
        tell({ client, kind: "greeting", data: JSON.parse(packet.slice(1)) });
    }),
  );
  socket.onAny((event, ...data) => tell({ client, kind: "event", event, data }));
  socket.on("connect", () => {
    tell({ client, kind: "connect", id: socket.id, transport: transport(), recovered: socket.recovered ?? null });
    socket.io.engine.on("upgrade", () => tell({ client, kind: "upgrade", transport: transport() }));
  });
  socket.on("disconnect", (reason) => tell({ client, kind: "disconnect", reason }));
  socket.on("connect_error", (error) => tell({ client, kind: "connect_error", message: error.message }));
}

const commands = {
  async open({ client, url, options, library }) {
    packages[library] ??= await load(library);
    clients[client] = packages[library](url, { forceNew: true, ...options });
    watch(client, clients[client]);
  },
  emit({ client, event, data, ack }) {
    const answered = ack === null ? [] : [(...answer) => tell({ client, kind: "ack", ack, answer })];
    clients[client].emit(event, ...data, ...answered);
  },
  drop({ client }) {
    clients[client].io.engine.close();
  },
  connect({ client }) {
    clients[client].connect();
  },
  disconnect({ client }) {
    clients[client].disconnect();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  await commands[command.do](command);
}
process.exit(0);
