import { createPublicKey } from "node:crypto"
import type { ExportLine } from "@signalbox/contracts/audit/export-line"
import { AppError } from "@signalbox/kernel/app-error"
import type { ChainCheck, ChainFault, ChainRecord, Checkpoint } from "@signalbox/server/storage/audit-chain"

/** What a check found. */
export interface ChainVerdict {
  readonly valid: boolean
  readonly account: string
  /** Records that fit, from the first of the stretch on. */
  readonly records: number
  /** The number of the first one; 1 unless the stretch begins later. */
  readonly first: number
  readonly last: number
  readonly checkpoints: number
  /** What signed the checkpoints: SHA-256 of public keys. */
  readonly signedBy: readonly string[]
  readonly fault?: ChainFault
}

export interface VerifyOptions {
  /** A checkpoint that was kept elsewhere. */
  readonly kept?: { readonly envelope: KeptEnvelope; readonly publicKey: string }
  /** Whose checkpoints count, in PEM; left out, those that the lines bring. */
  readonly trustedKeys?: readonly string[]
  /** Accept a chain whose beginning was taken out up to a signed checkpoint. */
  readonly isPrunedAccepted: boolean
}

type KeptEnvelope = Extract<ExportLine, { kind: "checkpoint" }>["envelope"]
type ReadEnvelope = (
  envelope: KeptEnvelope,
  keys: readonly string[],
) => { readonly statement: unknown; readonly keyId: string } | undefined
type Header = Extract<ExportLine, { kind: "export" }>

/** Computes a chain again, line by line, and tells the first record that doesn't fit. @throws cli.file-unreadable */
export async function verifyExport(lines: AsyncIterable<ExportLine>, options: VerifyOptions): Promise<ChainVerdict> {
  const { ChainCheck, checkpointType } = await import("@signalbox/server/storage/audit-chain")
  const { readStatement } = await import("@signalbox/attestation/signed-envelope")
  const read = (envelope: KeptEnvelope, keys: readonly string[]) =>
    readStatement(
      envelope,
      checkpointType,
      keys.map((pem) => createPublicKey(pem)),
    )
  let state: Verification | undefined
  for await (const line of lines) {
    if (line.kind === "export") {
      if (state) throw new AppError("cli.file-unreadable", "the export begins twice")
      const { account, start } = line
      state = new Verification({ header: line, check: new ChainCheck({ account, start }), options, read })
    } else {
      if (!state) throw new AppError("cli.file-unreadable", "the export has no first line")
      state.take(line)
    }
    if (state.isDone) break
  }
  if (!state) throw new AppError("cli.file-unreadable", "the export is empty")
  return state.verdict()
}

class Verification {
  readonly #header: Header
  readonly #check: ChainCheck
  readonly #options: VerifyOptions
  readonly #read: ReadEnvelope
  readonly #signedBy = new Set<string>()
  #checkpoints = 0
  #isStartSigned = false
  #fault: ChainFault | undefined
  #isEnded = false
  #stranger: { readonly id: string; readonly position: string } | undefined

  constructor(parts: {
    readonly header: Header
    readonly check: ChainCheck
    readonly options: VerifyOptions
    readonly read: ReadEnvelope
  }) {
    this.#header = parts.header
    this.#check = parts.check
    this.#options = parts.options
    this.#read = parts.read
    const { kept } = parts.options
    if (kept) this.#takeCheckpoint(kept, [kept.publicKey])
  }

  get isDone(): boolean {
    return this.#fault !== undefined || this.#isEnded
  }

  take(line: Exclude<ExportLine, Header>): void {
    switch (line.kind) {
      case "checkpoint":
        return this.#takeCheckpoint(line, this.#options.trustedKeys ?? [line.publicKey])
      case "unsealed":
        this.#stranger ??= line
        return
      case "record":
        if (line.record) this.#refuseStranger(line.record, line.number)
        this.#fault ??= this.#check.check({ ...line, record: line.record as ChainRecord | undefined })
        return
      case "end":
        this.#isEnded = true
        this.#refuseStranger(undefined, this.#check.last.number + 1)
        this.#fault ??= this.#beginning() ?? this.#check.finish(line)
    }
  }

  verdict(): ChainVerdict {
    const first = this.#header.start.number + 1
    const { number } = this.#check.last
    const cut = this.isDone ? undefined : { number: number + 1, what: `it is cut off after record ${number}` }
    const fault = this.#fault ?? cut
    return {
      valid: fault === undefined,
      account: this.#header.account,
      records: number - first + 1,
      first,
      last: number,
      checkpoints: this.#checkpoints,
      signedBy: [...this.#signedBy],
      ...(fault ? { fault } : {}),
    }
  }

  #takeCheckpoint({ envelope }: { readonly envelope: KeptEnvelope }, keys: readonly string[]): void {
    const found = this.#read(
      envelope,
      keys.filter((key) => key !== ""),
    )
    const checkpoint = found?.statement as Checkpoint | undefined
    if (!found || !checkpoint) {
      const { number } = this.#check.last
      this.#fault ??= { number, what: `a checkpoint after record ${number} has no signature of a trusted key` }
      return
    }
    const { start } = this.#header
    // A kept checkpoint may be older than the stretch that is checked.
    if (checkpoint.number < start.number && checkpoint.account === this.#header.account) return
    this.#checkpoints++
    this.#signedBy.add(found.keyId)
    if (checkpoint.number === start.number && checkpoint.hash === start.hash) this.#isStartSigned = true
    this.#fault ??= this.#check.expect(checkpoint)
  }

  /** The whole chain begins at 1, or where a checkpoint says so and that is accepted. */
  #beginning(): ChainFault | undefined {
    const { start, from } = this.#header
    if (start.number === 0 || from !== undefined) return undefined
    if (this.#isStartSigned && this.#options.isPrunedAccepted) return undefined
    return { number: 1, what: `records 1 to ${start.number} are missing` }
  }

  /** A record without a seal is the first that doesn't fit where it stands before the next one. */
  #refuseStranger(next: { readonly position: string; readonly id: string } | undefined, number: number): void {
    const stranger = this.#stranger
    if (!stranger || !isNumber(stranger.position) || (next && !isNumber(next.position))) return
    const [at, nextAt] = [BigInt(stranger.position), next && BigInt(next.position)]
    const isLater = next && nextAt !== undefined && (at > nextAt || (at === nextAt && stranger.id > next.id))
    if (isLater) return
    this.#fault ??= {
      id: stranger.id,
      what: `record ${stranger.id} stands before record ${number} and was never sealed`,
    }
  }
}

const isNumber = (text: string): boolean => /^\d{1,20}$/.test(text)
