/**
 * Text messages of a WebSocket as one side sends them that doesn't mask (RFC 6455, 5.2), in one buffer: what is written
 * in one piece is one record of TLS and one system call.
 */
export function encodeTextMessages(texts: readonly string[]): Buffer {
  const lengths = texts.map((text) => Buffer.byteLength(text))
  const total = lengths.reduce((sum, length) => sum + headerBytes(length) + length, 0)
  const buffer = Buffer.allocUnsafe(total)
  let at = 0
  for (const [index, text] of texts.entries()) {
    const length = lengths[index] ?? 0
    at = writeHeader(buffer, at, length)
    at += buffer.write(text, at)
  }
  return buffer
}

/** The only fragment of a text. */
const wholeText = 0x81
const length16 = 126
const length64 = 127

function headerBytes(length: number): number {
  return length < length16 ? 2 : length <= 0xffff ? 4 : 10
}

/** Gives where the text begins. */
function writeHeader(buffer: Buffer, at: number, length: number): number {
  buffer[at] = wholeText
  if (length < length16) {
    buffer[at + 1] = length
    return at + 2
  }
  if (length <= 0xffff) {
    buffer[at + 1] = length16
    return buffer.writeUInt16BE(length, at + 2)
  }
  buffer[at + 1] = length64
  return buffer.writeBigUInt64BE(BigInt(length), at + 2)
}
