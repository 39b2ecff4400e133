// A room server on socket.io: TLS, rooms, nothing stored. Run by the harness: node socketio.js CERT KEY
//
// A client connects with ?room=ROOM. It emits "post" with a body and an acknowledgement, which gets the seq; every member of the room, the
// sender too, gets "message" with seq and body.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { Server } from "socket.io";

const [cert, key] = process.argv.slice(2);
const seqs = new Map();
const http = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});

io.on("connection", (socket) => {
  const room = socket.handshake.query.room;
  socket.join(room);
  socket.emit("joined");
  socket.on("post", (body, acknowledge) => {
    const seq = (seqs.get(room) ?? 0) + 1;
    seqs.set(room, seq);
    io.to(room).emit("message", seq, body);
    acknowledge(seq);
  });
});
http.listen(0, "127.0.0.1", () => console.log(`PORT ${http.address().port}`));
process.on("SIGTERM", () => process.exit(0));
