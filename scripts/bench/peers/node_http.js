// Node's own http server: the same body and content type. Usage: node node_http.js PORT
"use strict";
const http = require("http");

const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8", "Content-Length": 13 });
  response.end("Hello, World!");
});
server.keepAliveTimeout = 3600 * 1000;
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
