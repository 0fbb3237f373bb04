import { hookFields, hooksGet, hooksPut } from "@signalbox/contracts/triggers/hooks"
import { triggerFields, triggersGet, triggersPut } from "@signalbox/contracts/triggers/named-triggers"
import {
  signalFields,
  signalsGet,
  signalsPut,
  silenceFields,
  silencesGet,
  silencesPut,
} from "@signalbox/contracts/triggers/signals"
import { z } from "zod"
import { declare, findUnless, outcomeOf, withoutKind, type DeclaredKind } from "./declared-kind.ts"
import { hookText, namedTriggerText, signalText, silenceText } from "./trigger-text.ts"

const signal = z.strictObject({ kind: z.literal("Signal"), ...signalFields }).transform(withoutKind)
const silence = z.strictObject({ kind: z.literal("Silence"), ...silenceFields }).transform(withoutKind)
const hook = z.strictObject({ kind: z.literal("Hook"), ...hookFields }).transform(withoutKind)
const namedTrigger = z.strictObject({ kind: z.literal("Trigger"), ...triggerFields }).transform(withoutKind)

/** What makes events for rules, as documents. */
export const triggerKinds: Readonly<Record<string, DeclaredKind>> = {
  Signal: declare<z.output<typeof signal>>({
    noun: "signal",
    schema: signal,
    text: signalText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(signalsGet, { name }), "triggers.signal-not-found")
      return stored && signalText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(signalsPut, value)),
  }),
  Silence: declare<z.output<typeof silence>>({
    noun: "silence",
    schema: silence,
    text: silenceText,
    async findText(client, { name, from }) {
      const stored = await findUnless(client.call(silencesGet, { name }), "triggers.silence-not-found")
      // A document without a beginning says nothing of when the silence began.
      return stored && silenceText({ ...stored, from: from === undefined ? undefined : stored.from })
    },
    apply: async (client, value) => outcomeOf(await client.call(silencesPut, value)),
  }),
  Hook: declare<z.output<typeof hook>>({
    noun: "hook",
    schema: hook,
    text: hookText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(hooksGet, { name }), "triggers.hook-not-found")
      return stored && hookText(stored)
    },
    async apply(client, value) {
      const reply = await client.call(hooksPut, value)
      const outcome = outcomeOf(reply)
      if (reply.status === "held" || !reply.value.url) return outcome
      const { url, secret } = reply.value
      return { ...outcome, shown: { url, ...(secret === undefined ? {} : { secret }) } }
    },
  }),
  Trigger: declare<z.output<typeof namedTrigger>>({
    noun: "trigger",
    schema: namedTrigger,
    text: namedTriggerText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(triggersGet, { name }), "triggers.trigger-not-found")
      return stored && namedTriggerText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(triggersPut, value)),
  }),
}
