// Alpine compiles the expressions in its attributes to functions, for which a policy would have to
// allow 'unsafe-eval'. Here they are parsed and carried out instead: the part of JavaScript that
// the admin's templates use. What else a template may hold is an error in the console, by its name.

const TOKEN =
  /\s*(?:(\d+(?:\.\d+)?)|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|([A-Za-z_$][\w$]*)|(=>|===|!==|==|!=|<=|>=|&&|\|\||\+\+|--|[-+*/%<>!=?:.,;()[\]{}]))/y;

const LITERALS = { true: true, false: false, null: null, undefined: undefined };

// By how tightly it binds. `&&` and `||` are not here: they may leave their right side out.
const OPERATORS = [
  {
    "===": (a, b) => a === b, "!==": (a, b) => a !== b,
    "==": (a, b) => a == b, "!=": (a, b) => a != b,
  },
  { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b },
  { "+": (a, b) => a + b, "-": (a, b) => a - b },
  { "*": (a, b) => a * b, "/": (a, b) => a / b, "%": (a, b) => a % b },
];

// What expressions find outside of their data: the functions of the admin's scripts, and little of
// the browser, so that markup that somebody got into a page can't do all that a script can.
const GLOBALS = {
  localStorage: () => localStorage,
  window: () => ({
    location: { pathname: location.pathname, search: location.search, hash: location.hash },
  }),
  getCurrentTab: () => getCurrentTab,
  moveRecords: () => moveRecords,
  searchCommand: () => searchCommand,
  searchDropdown: () => searchDropdown,
  searchForm: () => searchForm,
  sortRecords: () => sortRecords,
  theme: () => theme,
};

const FORBIDDEN = new Set(["constructor", "__proto__", "prototype"]);

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new SyntaxError(`not understood: ${text.slice(at)}`);
    const [, number, string, name, sign] = match;
    if (number) found.push({ kind: "value", value: Number(number) });
    else if (string) found.push({ kind: "value", value: string.slice(1, -1).replace(/\\(.)/g, "$1") });
    else if (name) found.push({ kind: "name", text: name });
    else found.push({ kind: "sign", text: sign });
  }
  return found;
}

// Each part of an expression becomes a function of the scope that gives its value; one that may be
// assigned to also has `place`, a function that gives the object and the key.
class Parser {
  constructor(text) {
    this.tokens = tokens(text);
    this.at = 0;
  }

  is(text) {
    const token = this.tokens[this.at];
    return token !== undefined && token.kind !== "value" && token.text === text;
  }

  takes(text) {
    const is = this.is(text);
    if (is) this.at += 1;
    return is;
  }

  expect(text) {
    if (!this.takes(text)) throw new SyntaxError(`"${text}" is missing`);
  }

  name() {
    const token = this.tokens[this.at];
    if (token?.kind !== "name") throw new SyntaxError("a name is missing");
    this.at += 1;
    return token.text;
  }

  program() {
    const steps = this.statements();
    if (this.at < this.tokens.length) throw new SyntaxError(`unexpected "${this.tokens[this.at].text}"`);
    return steps;
  }

  statements(end) {
    const steps = [];
    while (this.at < this.tokens.length && !this.is(end)) {
      if (!this.takes(";")) steps.push(this.statement());
    }
    return (scope) => steps.reduce((_, step) => step(scope), undefined);
  }

  statement() {
    if (!this.takes("if")) return this.expression();
    this.expect("(");
    const condition = this.expression();
    this.expect(")");
    const then = this.branch();
    const otherwise = this.takes("else") ? this.branch() : () => undefined;
    return (scope) => (condition(scope) ? then(scope) : otherwise(scope));
  }

  // Elsewhere, as at an expression's beginning, a brace opens an object.
  branch() {
    if (!this.takes("{")) return this.statement();
    const steps = this.statements("}");
    this.expect("}");
    return steps;
  }

  expression() {
    if (this.tokens[this.at + 1]?.text === "=>" && this.tokens[this.at].kind === "name") return this.arrow();
    const left = this.choice();
    if (!this.takes("=")) return left;
    if (!left.place) throw new SyntaxError("this can't be assigned to");
    const right = this.expression();
    return (scope) => {
      const [object, key] = left.place(scope);
      return (object[key] = right(scope));
    };
  }

  arrow() {
    const parameter = this.name();
    this.expect("=>");
    const body = this.expression();
    return (scope) => (value) => body(inner(scope, parameter, value));
  }

  choice() {
    const condition = this.either();
    if (!this.takes("?")) return condition;
    const then = this.expression();
    this.expect(":");
    const otherwise = this.expression();
    return (scope) => (condition(scope) ? then(scope) : otherwise(scope));
  }

  either() {
    let left = this.both();
    while (this.takes("||")) {
      const [first, second] = [left, this.both()];
      left = (scope) => first(scope) || second(scope);
    }
    return left;
  }

  both() {
    let left = this.binary(0);
    while (this.takes("&&")) {
      const [first, second] = [left, this.binary(0)];
      left = (scope) => first(scope) && second(scope);
    }
    return left;
  }

  binary(level) {
    if (level === OPERATORS.length) return this.unary();
    let left = this.binary(level + 1);
    for (;;) {
      const token = this.tokens[this.at];
      const apply = token?.kind === "sign" && OPERATORS[level][token.text];
      if (!apply) return left;
      this.at += 1;
      const [first, second] = [left, this.binary(level + 1)];
      left = (scope) => apply(first(scope), second(scope));
    }
  }

  unary() {
    if (this.takes("!")) {
      const value = this.unary();
      return (scope) => !value(scope);
    }
    if (this.takes("-")) {
      const value = this.unary();
      return (scope) => -value(scope);
    }
    return this.path();
  }

  path() {
    let value = this.primary();
    for (;;) {
      if (this.takes(".")) {
        const key = this.name();
        value = member(value, () => key);
      } else if (this.takes("[")) {
        value = member(value, this.expression());
        this.expect("]");
      } else if (this.takes("(")) {
        value = call(value, this.list(")"));
      } else {
        return value;
      }
    }
  }

  primary() {
    if (this.takes("(")) {
      const value = this.expression();
      this.expect(")");
      return value;
    }
    if (this.takes("[")) {
      const items = this.list("]");
      return (scope) => items.map((item) => item(scope));
    }
    if (this.takes("{")) return this.object();
    const token = this.tokens[this.at];
    if (token?.kind === "value") {
      this.at += 1;
      return () => token.value;
    }
    const name = this.name();
    if (Object.hasOwn(LITERALS, name)) return () => LITERALS[name];
    return variable(name);
  }

  object() {
    const entries = [];
    while (!this.takes("}")) {
      const token = this.tokens[this.at];
      const key = token?.kind === "value" ? String(token.value) : token?.text;
      this.at += 1;
      this.expect(":");
      entries.push([key, this.expression()]);
      if (!this.is("}")) this.expect(",");
    }
    return (scope) => Object.fromEntries(entries.map(([key, value]) => [key, value(scope)]));
  }

  list(end) {
    const items = [];
    while (!this.takes(end)) {
      items.push(this.expression());
      if (!this.is(end)) this.expect(",");
    }
    return items;
  }
}

function variable(name) {
  const value = (scope) => {
    if (name in scope) return scope[name];
    if (Object.hasOwn(GLOBALS, name)) return GLOBALS[name]();
    throw new ReferenceError(`${name} is not defined`);
  };
  value.place = (scope) => [scope, name];
  return value;
}

function member(of, key) {
  const place = (scope) => {
    const object = of(scope);
    const name = key(scope);
    if (FORBIDDEN.has(String(name))) throw new TypeError(`${name} is out of reach`);
    return [object, name];
  };
  const value = (scope) => {
    const [object, name] = place(scope);
    return object[name];
  };
  value.place = place;
  return value;
}

function call(of, items) {
  return (scope) => {
    const [object, name] = of.place ? of.place(scope) : [];
    // A name that the data do not have is one of GLOBALS.
    const called = of.place && (object !== scope || name in scope) ? object[name] : of(scope);
    if (typeof called !== "function") throw new TypeError(`${String(name)} is no function`);
    return called.apply(object, items.map((item) => item(scope)));
  };
}

function inner(scope, name, value) {
  return new Proxy(scope, {
    has: (object, key) => key === name || key in object,
    get: (object, key) => (key === name ? value : object[key]),
  });
}

const parsed = new Map();

function carryOut(expression, scope) {
  let run = parsed.get(expression);
  if (!run) parsed.set(expression, (run = new Parser(expression).program()));
  return run(scope);
}

// As Alpine's own: magics such as $el, the data around the element, and a handler that is only named
// is called.
function evaluator(element, expression) {
  const magics = {
    $el: element,
    $dispatch: (name, detail = {}) =>
      element.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true, cancelable: true })),
  };
  const stack = [magics, ...Alpine.closestDataStack(element)];
  return (receive = () => {}, { scope = {}, params = [] } = {}) => {
    const all = Alpine.mergeProxies([scope, ...stack]);
    try {
      let value = typeof expression === "function" ? expression : carryOut(expression, all);
      if (typeof value === "function") value = value.apply(all, params);
      if (value instanceof Promise) value.then(receive);
      else receive(value);
    } catch (error) {
      console.error(`${error.message}, in the expression ${expression}`, element);
    }
  };
}

document.addEventListener("alpine:init", () => Alpine.setEvaluator(evaluator));
