/** Takes secrets out of texts that somebody could read. Pure. */

const mask = "***"
/** Shorter values can't be told from other text; the secrets service takes none. */
const secretLengthMin = 6

/** A function that puts `***` in place of each value, also as base64, in a URL, as JSON, and line by line. */
export function createMask(values: Iterable<string>): (text: string) => string {
  const forms = new Set<string>()
  for (const value of values) {
    for (const part of [value, ...value.split(/\r?\n/)]) {
      if (part.length < secretLengthMin) continue
      forms.add(part)
      forms.add(JSON.stringify(part).slice(1, -1))
      forms.add(encodeURIComponent(part))
      forms.add(Buffer.from(part).toString("base64"))
      forms.add(Buffer.from(part).toString("base64url"))
    }
  }
  // The longest first, so that no part of one that holds another is left.
  const ordered = [...forms].toSorted((a, b) => b.length - a.length)
  return (text) => ordered.reduce((masked, form) => masked.replaceAll(form, mask), text)
}
