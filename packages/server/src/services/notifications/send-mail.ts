import { rootCertificates } from "node:tls"
import type { MailSettings } from "../../mail-settings.ts"
import type { DeliveryRow } from "./delivery-store.ts"
import { mailHtml } from "./formats.ts"
import { messageText, type TryResult } from "./model.ts"
import { deliveryLimits } from "./notification-limits.ts"

/** Sends one mail over one connection: text and HTML, marked as automatic so that no absence note comes back. */
export async function sendMail(
  settings: MailSettings,
  delivery: DeliveryRow,
  to: readonly string[],
): Promise<TryResult> {
  const { createTransport } = await import("nodemailer")
  const { message, suppressed, id } = delivery
  const transport = createTransport(transportOptions(settings))
  try {
    const { accepted, rejected, response } = await transport.sendMail({
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
    const refused = (rejected ?? []).length
    const what = refused > 0 ? `${(accepted ?? []).length} recipients, ${refused} refused` : "all recipients"
    return { ok: true, answer: `${oneLine(response ?? "250")} (${what})` }
  } catch (error) {
    return describeFailure(error)
  } finally {
    transport.close()
  }
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
