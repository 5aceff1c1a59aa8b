// The npm package ws as a peer: websocket.js client URL, or websocket.js server. Echoes, and says what it has seen.
const { WebSocket, WebSocketServer } = require("ws")

const sizes = [0, 1, 125, 126, 65535, 65536, 300000]

function message(size) {
  return "moonring ".repeat(Math.ceil(size / 9)).slice(0, size)
}

if (process.argv[2] === "client") {
  const socket = new WebSocket(process.argv[3], ["first", "second"])
  let at = 0, pongs = 0
  const next = () => {
    if (at === sizes.length * 2) return socket.ping("last")
    const text = message(sizes[at >> 1])
    socket.send(at % 2 ? Buffer.from(text) : text)
  }
  socket.on("open", next)
  socket.on("message", (data, isBinary) => {
    if (isBinary !== (at % 2 === 1) || data.toString() !== message(sizes[at >> 1])) throw new Error("wrong echo " + at)
    at++
    next()
  })
  socket.on("pong", data => { pongs++; socket.close(4001, "enough") })
  socket.on("close", (code, reason) => {
    console.log(`echoed ${at} pongs ${pongs} closed ${code} ${reason} protocol ${socket.protocol} extensions ${socket.extensions}`)
  })
} else {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", maxPayload: 10000000, perMessageDeflate: process.argv[3] === "deflate" })
  server.on("listening", () => console.log("port " + server.address().port))
  server.on("connection", socket => socket.on("message", (data, isBinary) => {
    if (data.toString() === "ping me") socket.ping("p")
    socket.send(data, { binary: isBinary })
  }))
}
