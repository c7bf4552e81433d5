// A server on Node's http module: it prints its port, and ends with SIGTERM.
"use strict";

const http = require("http");

const routes = {
  "GET /hello": (request, response) => response.end("hello"),

  "GET /socket": (request, response) => response.end(String(request.socket.remotePort)),

  "GET /chunks": (request, response) => {
    response.write("a");
    response.write(Buffer.alloc(100000, "b"));
    setTimeout(() => response.end("c"), 50);
  },

  "GET /trailers": (request, response) => {
    response.writeHead(200, { Trailer: "X-Sum" });
    response.write("content");
    response.addTrailers({ "X-Sum": "7" });
    response.end();
  },

  "GET /hints": (request, response) => {
    response.writeEarlyHints({ link: "</style.css>; rel=preload" });
    response.writeProcessing();
    response.end("after");
  },

  "GET /close": (request, response) => {
    response.setHeader("Connection", "close");
    response.end("last");
  },

  // Content that ends with the connection, as in HTTP/1.0.
  "GET /until-close": (request, response) => {
    response.useChunkedEncodingByDefault = false;
    response.shouldKeepAlive = false;
    response.removeHeader("Transfer-Encoding");
    response.write("to the ");
    response.end("end");
  },

  "GET /cut": (request, response) => {
    response.writeHead(200, { "Content-Length": "1000" });
    response.write("part", () => request.socket.destroy());
  },

  "GET /cut-chunks": (request, response) => {
    response.write("part", () => request.socket.destroy());
  },

  "GET /silence": () => {},

  "GET /forget": (request, response) => {
    response.end("bye", () => request.socket.destroySoon()); // without having said so
  },

  "POST /report": (request, response) => {
    let received = 0;
    request.on("data", (piece) => { received += piece.length; });
    request.on("end", () => response.end(JSON.stringify({
      received, length: request.headers["content-length"] || null, coding: request.headers["transfer-encoding"] || null,
      trailers: request.trailers, expected: request.expected === true,
    })));
  },

  "POST /echo": (request, response) => request.pipe(response),

  "POST /refuse": (request, response) => {
    response.writeHead(403, { Connection: "close" });
    response.end("no");
  },
};

function answer(request, response) {
  const route = routes[request.method.replace("HEAD", "GET") + " " + request.url];
  if (route) route(request, response); else { response.statusCode = 404; response.end(); }
}

const server = http.createServer(answer);
server.on("checkContinue", (request, response) => {
  if (request.url !== "/refuse") { request.expected = true; response.writeContinue(); }
  answer(request, response);
});
server.on("upgrade", (request, socket, head) => {
  if (request.url !== "/shout") {
    socket.end("HTTP/1.1 426 Upgrade Required\r\nUpgrade: shout\r\nContent-Length: 6\r\n\r\n/shout");
    return;
  }
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nready ");
  socket.on("data", (piece) => socket.write(piece.toString().toUpperCase()));
  socket.on("end", () => socket.end(" bye"));
  if (head.length) socket.unshift(head);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
