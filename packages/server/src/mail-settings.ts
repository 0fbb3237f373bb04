/** The mail server that notifications go through. */
export interface MailSettings {
  /** smtp://user:password@host:port, or smtps:// for TLS from the first byte. */
  readonly url: string
  readonly from: string
  readonly startTls: "require" | "try" | "never"
  /** Certificate authorities in PEM, beside the system's. */
  readonly caPem?: string
}
