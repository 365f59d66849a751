// Sends four messages to an echo, and answers with the extensions in use. Evaluated in a page of the broker's origin.
(url) => new Promise((resolve, reject) => {
  const mib = 1 << 20;
  const messages = [
    "Hello, κόσμε",
    Uint8Array.of(0, 1, 128, 255),
    `${"€".repeat((mib - 1) / 3)}x`,
    Uint8Array.from({ length: mib }, (_, i) => Math.imul(i, 2654435761) >>> 24),
  ];
  const same = (a, b) =>
    typeof a === "string"
      ? a === b
      : b instanceof ArrayBuffer && b.byteLength === a.length && new Uint8Array(b).every((byte, i) => byte === a[i]);

  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let echoed = 0;
  socket.onopen = () => socket.send(messages[0]);
  socket.onmessage = ({ data }) => {
    if (!same(messages[echoed], data)) {
      reject(new Error(`message ${echoed} came back otherwise`));
    }
    echoed++;
    if (echoed < messages.length) {
      socket.send(messages[echoed]);
    } else {
      socket.close(1000);
    }
  };
  socket.onclose = ({ code, wasClean }) => {
    if (echoed === messages.length && code === 1000 && wasClean) {
      resolve(socket.extensions);
    } else {
      reject(new Error(`closed with ${code} after ${echoed} messages`));
    }
  };
});
