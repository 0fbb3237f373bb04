import type { FastifyReply, FastifyRequest } from "fastify"
import type { RawContent } from "../router/raw-content.ts"

/** Writes bytes: all of them, or the one range that was asked for. Several ranges, or units unknown, give all. */
export async function sendRaw(
  request: FastifyRequest,
  reply: FastifyReply,
  { content, mediaType }: { readonly content: RawContent; readonly mediaType: string },
): Promise<FastifyReply> {
  const { bytes, etag } = content
  void reply.headers({ "accept-ranges": "bytes", etag: `"${etag}"`, "cache-control": "private, no-transform" })
  const range = findRange(request, content)
  if (range === "unsatisfiable") {
    return reply.code(416).header("content-range", `bytes */${bytes}`).send()
  }
  const { start, end } = range ?? { start: 0, end: bytes }
  const stream = await content.open({ start, end })
  if (range) void reply.code(206).header("content-range", `bytes ${start}-${end - 1}/${bytes}`)
  return reply
    .type(mediaType)
    .header("content-length", end - start)
    .send(stream)
}

function findRange(
  request: FastifyRequest,
  { bytes, etag }: RawContent,
): { start: number; end: number } | "unsatisfiable" | undefined {
  const condition = request.headers["if-range"]
  if (condition !== undefined && condition !== `"${etag}"`) return undefined
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(request.headers.range ?? "")
  const [, first = "", last = ""] = match ?? []
  if (first === "" && last === "") return undefined
  if (first === "") {
    const length = Math.min(Number(last), bytes)
    return length === 0 ? "unsatisfiable" : { start: bytes - length, end: bytes }
  }
  const start = Number(first)
  const end = last === "" ? bytes : Math.min(Number(last) + 1, bytes)
  if (start >= bytes) return "unsatisfiable"
  return end <= start ? undefined : { start, end }
}
