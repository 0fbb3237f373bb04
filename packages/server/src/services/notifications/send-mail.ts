import { rootCertificates } from "node:tls"
import type { MailSettings } from "../../mail-settings.ts"
import type { DeliveryRow } from "./delivery-store.ts"
import { mailHtml } from "./formats.ts"
import { messageText, type TryResult } from "./model.ts"
import { deliveryLimits } from "./notification-limits.ts"

interface Sending {
  readonly to: readonly string[]
  /** The server stops: the delivery is given back. */
  readonly signal: AbortSignal
  readonly deadlineMilliseconds?: number
}

/**
 * Sends one mail over one connection: text and HTML, marked as automatic so that no absence note comes back. A mail
 * server that answers byte by byte is given up before the claim on the delivery ends.
 */
export async function sendMail(
  settings: MailSettings,
  delivery: DeliveryRow,
  { to, signal, deadlineMilliseconds = deliveryLimits.mailDeadlineMilliseconds }: Sending,
): Promise<TryResult> {
  const { createTransport } = await import("nodemailer")
  const { message, suppressed, id } = delivery
  const transport = createTransport(transportOptions(settings))
  const deadline = AbortSignal.timeout(deadlineMilliseconds)
  const given = AbortSignal.any([signal, deadline])
  try {
    const sent = transport.sendMail({
      from: settings.from,
      to: [...to],
      subject: `[Signalbox] ${message.title}`,
      text: messageText(message, suppressed),
      html: mailHtml(message, suppressed),
      messageId: `<${id}@signalbox.invalid>`,
      headers: { "auto-submitted": "auto-generated", "x-signalbox-delivery": id },
      ...(message.severity === "alert" ? { priority: "high" as const } : {}),
      disableFileAccess: true,
      disableUrlAccess: true,
    })
    const { accepted, rejected, response } = await Promise.race([sent, rejectAtAbort(given)])
    const refused = (rejected ?? []).length
    const what = refused > 0 ? `${(accepted ?? []).length} recipients, ${refused} refused` : "all recipients"
    return { ok: true, answer: `${oneLine(response ?? "250")} (${what})` }
  } catch (error) {
    signal.throwIfAborted()
    if (deadline.aborted)
      return { ok: false, answer: `the mail server took more than ${deadlineMilliseconds} ms for one mail` }
    return describeFailure(error)
  } finally {
    transport.close()
  }
}

/** Rejects when the signal is aborted. */
function rejectAtAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true })
  })
}

function transportOptions({ url, startTls, caPem }: MailSettings) {
  const { protocol, hostname, port, username, password } = new URL(url)
  const isTls = protocol === "smtps:"
  const timeout = deliveryLimits.mailTimeoutMilliseconds
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? (isTls ? 465 : 587) : Number(port),
    secure: isTls,
    requireTLS: !isTls && startTls === "require",
    ignoreTLS: startTls === "never",
    ...(username === "" ? {} : { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }),
    ...(caPem === undefined ? {} : { tls: { ca: [...rootCertificates, caPem] } }),
    connectionTimeout: timeout,
    greetingTimeout: timeout,
    socketTimeout: timeout,
    dnsTimeout: timeout,
  }
}

/** A mailbox that doesn't exist won't on the next try; all else (a wrong password too) somebody may put right. */
function describeFailure(error: unknown): TryResult {
  const { responseCode, code, response } = error as { responseCode?: number; code?: string; response?: string }
  const permanent = responseCode !== undefined && responseCode >= 550 && responseCode < 560
  if (response !== undefined) return { ok: false, answer: `the mail server said: ${oneLine(response)}`, permanent }
  const message = error instanceof Error ? error.message : String(error)
  return { ok: false, answer: `the mail could not be sent (${code ?? "failed"}): ${oneLine(message)}` }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").slice(0, 300)
}
