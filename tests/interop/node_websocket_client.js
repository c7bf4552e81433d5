// A client on npm's ws: `node node_websocket_client.js SCENARIO URL [JSON]` prints what it saw as JSON.
"use strict";

const { on, once } = require("events");
const WebSocket = require("ws");

const [, , scenario, url, options] = process.argv;
const { protocols, code, reason, ...rest } = JSON.parse(options || "{}");

async function open(path, protocols = []) {
  const ws = new WebSocket(url + path, protocols, rest);
  ws.closed = new Promise((resolve) => ws.once("close", (code, reason) => resolve([code, reason.toString()])));
  ws.pings = 0;
  ws.on("ping", () => { ws.pings += 1; });
  ws.messages = on(ws, "message")[Symbol.asyncIterator](); // from the start: the first may come with the handshake
  await once(ws, "open");
  return ws;
}

async function receive(ws) {
  const [data, isBinary] = (await ws.messages.next()).value;
  return isBinary ? data : data.toString();
}

const same = (one, other) => (typeof one === "string" ? one === other : Buffer.compare(one, other) === 0);

const messages = [
  "", "text", "größer als ASCII, 日本語 🐫", JSON.stringify(Array(500).fill([1, 2, 3])), "large, grün 🐫 ".repeat(50000),
  Buffer.alloc(0), Buffer.from([0, 255]), Buffer.from(Array.from({ length: 5000 }, (_, n) => n % 256)),
  Buffer.alloc(1000000), Buffer.from("the same again"), Buffer.from("the same again"),
];

const scenarios = {
  async echo() {
    const ws = await open("/echo");
    const { extensions } = ws;
    const back = [];
    for (const message of messages) {
      ws.send(message);
      back.push(same(message, await receive(ws)));
    }
    ws.close(1000);
    return { compressed: extensions.includes("permessage-deflate"), same: back, closed: await ws.closed };
  },

  // Both ways at once: all of them go out before the first answer is looked at.
  async many() {
    const ws = await open("/echo");
    for (let number = 0; number < 2000; number += 1) ws.send(`${number} `.repeat(500));
    const numbers = [];
    while (numbers.length < 2000) numbers.push(parseInt(await receive(ws), 10));
    ws.close();
    await ws.closed;
    return numbers.every((number, place) => number === place);
  },

  async fragments() {
    const ws = await open("/echo");
    const pieces = Array.from({ length: 50 }, (_, number) => `piece ${number}, grün 🐫 `.repeat(200));
    pieces.forEach((piece, number) => {
      ws.ping(String(number));
      ws.send(piece, { fin: number === pieces.length - 1, compress: true });
    });
    const whole = (await receive(ws)) === pieces.join("");
    ws.close();
    await ws.closed;
    return whole;
  },

  async pings() {
    const ws = await open("/ping");
    ws.ping("are you there?");
    const [data] = await once(ws, "pong");
    const received = await receive(ws);
    ws.close();
    await ws.closed;
    return { pong: data.toString(), received, pings: ws.pings };
  },

  async protocol() {
    const ws = await open("/echo", protocols);
    ws.close();
    await ws.closed;
    return ws.protocol;
  },

  async close() {
    const ws = await open("/echo");
    ws.close(code, reason);
    return (await ws.closed)[0];
  },

  async closed() {
    const ws = await open("/close");
    ws.send(`${code} ${reason}`);
    return ws.closed;
  },

  async shutdown() {
    return (await open("/wait")).closed;
  },

  async terminate() {
    const ws = await open("/echo");
    ws.terminate();
    return (await ws.closed)[0];
  },

  async tooLarge() {
    const ws = await open("/echo");
    ws.on("error", () => {}); // what had not been sent when the server closed
    ws.send(Buffer.alloc(2000000));
    return (await ws.closed)[0];
  },

  async refused() {
    const statuses = [];
    for (const [path, origin] of [["/echo", "https://evil.test"], ["/missing", undefined]]) {
      const ws = new WebSocket(url + path, { origin });
      const [request, response] = await once(ws, "unexpected-response");
      statuses.push(response.statusCode);
      request.destroy();
    }
    return statuses;
  },
};

scenarios[scenario]().then((seen) => process.stdout.write(JSON.stringify(seen)));
