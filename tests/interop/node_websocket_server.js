// A server on npm's ws: `node node_websocket_server.js [JSON]` prints its port, and ends with SIGTERM.
//
// A request for /ended is answered with the code and the reason of the next WebSocket that ends.
"use strict";

const http = require("http");
const { WebSocketServer } = require("ws");

const ended = [];
const waiting = [];

function settle() {
  while (ended.length && waiting.length) waiting.shift().end(JSON.stringify(ended.shift()));
}

const server = http.createServer((request, response) => {
  if (request.url !== "/ended") { response.statusCode = 404; response.end("there is none"); return; }
  waiting.push(response);
  settle();
});

const websockets = new WebSocketServer({
  server,
  handleProtocols: (offered) => (offered.has("two") ? "two" : false),
  verifyClient: ({ origin }) => origin !== "https://evil.test",
  ...JSON.parse(process.argv[2] || "{}"),
});

websockets.on("connection", (ws, request) => {
  ws.on("close", (code, reason) => { ended.push([code, reason.toString()]); settle(); });
  ws.on("message", (data, isBinary) => {
    if (request.url === "/close") {
      const [code, ...reason] = data.toString().split(" ");
      ws.close(...(code === "" ? [] : [Number(code), reason.join(" ")]));
    } else if (request.url === "/cut") {
      ws.terminate();
    } else if (request.url === "/fragments") {
      for (let start = 0; start < data.length; start += 1000) {
        ws.ping(String(start));
        ws.send(data.subarray(start, start + 1000), { fin: start + 1000 >= data.length, binary: isBinary });
      }
    } else {
      ws.send(data, { binary: isBinary });
    }
  });
  if (request.url === "/ping") {
    ws.ping("are you there?");
    ws.on("pong", (data) => ws.send(`pong: ${data}`));
  }
});

server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
process.on("SIGTERM", () => process.exit(0));
