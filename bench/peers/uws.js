// A room server on uWebSockets, as Bun carries it: TLS, pub/sub, nothing stored. Run by the harness: bun uws.js CERT KEY
//
// A client connects to /?room=ROOM. It sends [8 bytes request][body] and gets [1][8 bytes request][8 bytes seq]; every member of the room,
// the sender too, gets [2][8 bytes seq][body].
const [cert, key] = process.argv.slice(2);
const seqs = new Map();

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  tls: { cert: Bun.file(cert), key: Bun.file(key) },
  fetch(request, server) {
    const room = new URL(request.url).searchParams.get("room");
    if (room && server.upgrade(request, { data: { room } })) return undefined;
    return new Response("a WebSocket with ?room= was expected", { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 120,
    maxPayloadLength: 65536,
    // As in Starling, who does not read falls behind; here the connection is closed then.
    backpressureLimit: 1048576,
    closeOnBackpressureLimit: true,
    open(socket) {
      socket.subscribe(socket.data.room);
      socket.send(new Uint8Array([0]));
    },
    message(socket, message) {
      const room = socket.data.room;
      const seq = (seqs.get(room) ?? 0) + 1;
      seqs.set(room, seq);
      const event = Buffer.allocUnsafe(message.length + 1);
      event[0] = 2;
      event.writeBigUInt64LE(BigInt(seq), 1);
      message.copy(event, 9, 8);
      server.publish(room, event);
      const ack = Buffer.allocUnsafe(17);
      ack[0] = 1;
      message.copy(ack, 1, 0, 8);
      ack.writeBigUInt64LE(BigInt(seq), 9);
      socket.send(ack);
    },
  },
});
console.log(`PORT ${server.port}`);
process.on("SIGTERM", () => process.exit(0));
