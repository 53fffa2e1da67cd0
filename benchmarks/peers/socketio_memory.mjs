// Socket.IO alone: one process, rooms in its memory.
import { createIo, listen, serveRooms } from "./socketio_server.mjs";

const io = createIo();
serveRooms(io);
listen(io);
