/** A service as anybody writes one: plain HTTP, which knows nothing of Signalbox. `node server.mjs [port]` */
import { createServer } from "node:http"

const port = Number(process.argv[2] ?? 8080)
const greetings = new Map([
  ["en", "Hello"],
  ["de", "Guten Tag"],
])

async function handle(request, response) {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost")
  const language = /^\/greetings\/([a-z]{2})$/.exec(pathname)?.[1]
  if (pathname === "/healthz") return answer(response, 200, { ok: true })
  if (!language) return answer(response, 404, { error: "nothing here" })
  if (request.method === "PUT") {
    let text = ""
    for await (const chunk of request) text += chunk
    greetings.set(language, JSON.parse(text).greeting)
    return answer(response, 200, { language, changedBy: request.headers["signalbox-principal"] ?? "somebody" })
  }
  const greeting = greetings.get(language)
  if (greeting === undefined) return answer(response, 404, { error: `no greeting in ${language}` })
  return answer(response, 200, { text: `${greeting}, ${searchParams.get("name") ?? "world"}!` })
}

const server = createServer((request, response) => {
  handle(request, response).catch((error) => answer(response, 400, { error: String(error) }))
})

function answer(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}

server.listen(port, "127.0.0.1", () => process.stdout.write(`greeter listens on port ${server.address().port}\n`))
