import {
  calendarsApply,
  calendarsDocument,
  calendarsGet,
  changeCalendarFields,
} from "@signalbox/contracts/calendars/change-calendars"
import { associationFields, associationsApply, associationsGet } from "@signalbox/contracts/approvals/associations"
import { approvalGroupFields, approvalGroupsApply, approvalGroupsGet } from "@signalbox/contracts/approvals/groups"
import { templateFields, templatesApply, templatesGet } from "@signalbox/contracts/approvals/templates"
import { portfolioFields, portfoliosApply, portfoliosGet } from "@signalbox/contracts/catalog/portfolios"
import { productFields, productsApply, productsGet } from "@signalbox/contracts/catalog/products"
import { schedulesApply, schedulesGet, scheduleFields } from "@signalbox/contracts/calendars/schedules"
import { windowsApply, windowsGet, windowFields } from "@signalbox/contracts/calendars/windows"
import { servicesGet, servicesPut } from "@signalbox/contracts/gateway/operations"
import { groupsGet, groupsPut } from "@signalbox/contracts/fleet/operations"
import {
  identityProviderFields,
  identityProvidersApply,
  identityProvidersGet,
} from "@signalbox/contracts/identity/identity-providers"
import { principalsGet } from "@signalbox/contracts/identity/people"
import {
  channelFields,
  channelsApply,
  channelsGet,
  subscriptionFields,
  subscriptionsApply,
  subscriptionsGet,
} from "@signalbox/contracts/notifications/operations"
import { changeFields, mapFields } from "@signalbox/contracts/routing/map-document"
import { routesApply, routesExport } from "@signalbox/contracts/routing/operations"
import { rulesGet, rulesPut } from "@signalbox/contracts/rules/operations"
import { ruleFields } from "@signalbox/contracts/rules/rule-document"
import { limits, resourceName } from "@signalbox/contracts/schemas"
import type { Client } from "@signalbox/sdk/client"
import { z } from "zod"
import { approvalGroupText, associationText, templateText } from "./approval-text.ts"
import { portfolioText, productText } from "./catalog-text.ts"
import { channelText, subscriptionText } from "./notification-text.ts"
import { declare, findUnless, outcomeOf, withoutKind, type DeclaredKind } from "./declared-kind.ts"
import { changeCalendarText } from "./change-calendar-text.ts"
import { groupText } from "./group-text.ts"
import { identityProviderText } from "./identity-provider-text.ts"
import { routingMapText } from "./routing-map-text.ts"
import { triggerKinds } from "./trigger-kinds.ts"
import { ruleText } from "./rule-text.ts"
import { scheduleText } from "./schedule-text.ts"
import { readApiDocument, serviceDocument, serviceText } from "./service-text.ts"
import { windowText } from "./window-text.ts"

const group = z
  .strictObject({
    kind: z.literal("NodeGroup"),
    name: resourceName,
    description: z.string().max(limits.noteLengthMax).optional(),
    query: z.string().min(1).max(1000).optional(),
    nodes: z.array(z.string().min(1).max(128)).min(1).max(limits.targetsListMax).optional(),
  })
  .refine((value) => (value.query === undefined) !== (value.nodes === undefined), "give exactly one of query and nodes")
  .transform(withoutKind)

type Group = z.output<typeof group>

const schedule = z.strictObject({ kind: z.literal("Schedule"), ...scheduleFields }).transform(withoutKind)
const channel = z.strictObject({ kind: z.literal("Channel"), ...channelFields }).transform(withoutKind)
const subscription = z.strictObject({ kind: z.literal("Subscription"), ...subscriptionFields }).transform(withoutKind)
const identityProvider = z
  .strictObject({ kind: z.literal("IdentityProvider"), ...identityProviderFields })
  .transform(withoutKind)
const window = z.strictObject({ kind: z.literal("Window"), ...windowFields }).transform(withoutKind)

const changeCalendar = z
  .strictObject({ kind: z.literal("ChangeCalendar"), ...changeCalendarFields })
  .transform(withoutKind)

const approvalGroup = z
  .strictObject({ kind: z.literal("ApprovalGroup"), ...approvalGroupFields })
  .transform(withoutKind)
const template = z.strictObject({ kind: z.literal("ApprovalTemplate"), ...templateFields }).transform(withoutKind)
const association = z.strictObject({ kind: z.literal("Association"), ...associationFields }).transform(withoutKind)
const product = z.strictObject({ kind: z.literal("Product"), ...productFields }).transform(withoutKind)
const portfolio = z.strictObject({ kind: z.literal("Portfolio"), ...portfolioFields }).transform(withoutKind)

const rule = z.strictObject({ kind: z.literal("Rule"), ...ruleFields }).transform(withoutKind)

const routingMap = z
  .strictObject({ kind: z.literal("RoutingMap"), ...mapFields, ...changeFields })
  // There is one, so it has no name of its own.
  .transform((document) => ({ ...withoutKind(document), name: "routing-map" }))

/**
 * The kinds of documents that are an operation's input and nothing more: a new kind is a row here. Workflows are not
 * among them, since the server keeps their text.
 */
export const declaredKinds: Readonly<Record<string, DeclaredKind>> = {
  NodeGroup: declare<Group>({
    noun: "group",
    schema: group,
    text: groupText,
    findText: findGroupText,
    async apply(client, value) {
      const before = await findGroupText(client, value)
      if (before === groupText(value)) return { result: "unchanged" }
      const reply = await client.call(groupsPut, value)
      if (reply.status === "held") return { result: "held", requestUrl: reply.requestUrl }
      return { result: before === undefined ? "created" : "changed" }
    },
  }),
  Schedule: declare<z.output<typeof schedule>>({
    noun: "schedule",
    schema: schedule,
    text: scheduleText,
    async findText(client, { name, enabled }) {
      const stored = await findUnless(client.call(schedulesGet, { name }), "calendars.schedule-not-found")
      if (!stored) return undefined
      // Whether it is paused is the operators' to say, unless the document does.
      return scheduleText({ ...stored, enabled: enabled === undefined ? undefined : stored.state !== "paused" })
    },
    // Sent even where the text is the same: who applies a schedule is the one in whose name it fires.
    apply: async (client, value) => outcomeOf(await client.call(schedulesApply, value)),
  }),
  Window: declare<z.output<typeof window>>({
    noun: "window",
    schema: window,
    text: windowText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(windowsGet, { name }), "calendars.window-not-found")
      return stored && windowText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(windowsApply, value)),
  }),
  IdentityProvider: declare<z.output<typeof identityProvider>>({
    noun: "identity provider",
    schema: identityProvider,
    text: identityProviderText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(identityProvidersGet, { name }), "identity.provider-not-found")
      return stored && identityProviderText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(identityProvidersApply, value)),
  }),
  ChangeCalendar: declare<z.output<typeof changeCalendar>>({
    noun: "calendar",
    schema: changeCalendar,
    text: changeCalendarText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(calendarsGet, { name }), "calendars.calendar-not-found")
      if (!stored) return undefined
      if (stored.subscription) return changeCalendarText({ ...stored, ...stored.subscription })
      const { document } = await client.call(calendarsDocument, { name })
      return changeCalendarText({ ...stored, document })
    },
    apply: async (client, value) => outcomeOf(await client.call(calendarsApply, value)),
  }),
  Channel: declare<z.output<typeof channel>>({
    noun: "channel",
    schema: channel,
    text: channelText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(channelsGet, { name }), "notifications.channel-not-found")
      return stored && channelText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(channelsApply, value)),
  }),
  ApprovalGroup: declare<z.output<typeof approvalGroup>>({
    noun: "approval group",
    schema: approvalGroup,
    text: (value) => approvalGroupText(value),
    async findText(client, value) {
      const stored = await findUnless(client.call(approvalGroupsGet, { name: value.name }), "approvals.group-not-found")
      if (!stored) return undefined
      // The server keeps ids; the document may name people, and is compared as it is written.
      const names = await namesOfPrincipals(client, value.members)
      return approvalGroupText(stored, (id) => names.get(id) ?? id)
    },
    apply: async (client, value) => outcomeOf(await client.call(approvalGroupsApply, value)),
  }),
  ApprovalTemplate: declare<z.output<typeof template>>({
    noun: "approval template",
    schema: template,
    text: templateText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(templatesGet, { name }), "approvals.template-not-found")
      return stored && templateText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(templatesApply, value)),
  }),
  Association: declare<z.output<typeof association>>({
    noun: "association",
    schema: association,
    text: associationText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(associationsGet, { name }), "approvals.association-not-found")
      return stored && associationText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(associationsApply, value)),
  }),
  Product: declare<z.output<typeof product>>({
    noun: "product",
    schema: product,
    text: productText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(productsGet, { name }), "catalog.product-not-found")
      return stored && productText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(productsApply, value)),
  }),
  Portfolio: declare<z.output<typeof portfolio>>({
    noun: "portfolio",
    schema: portfolio,
    text: portfolioText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(portfoliosGet, { name }), "catalog.portfolio-not-found")
      return stored && portfolioText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(portfoliosApply, value)),
  }),
  Rule: declare<z.output<typeof rule>>({
    noun: "rule",
    schema: rule,
    text: ruleText,
    async findText(client, { name, enabled }) {
      const stored = await findUnless(client.call(rulesGet, { name }), "rules.rule-not-found")
      return stored && ruleText({ ...stored, enabled: enabled === undefined ? undefined : stored.enabled })
    },
    // Sent even where the text is the same: who applies a rule is the one in whose name it acts.
    apply: async (client, value) => outcomeOf(await client.call(rulesPut, value)),
  }),
  RoutingMap: declare<z.output<typeof routingMap>>({
    noun: "routing map",
    schema: routingMap,
    text: routingMapText,
    findText: async (client) => routingMapText((await client.call(routesExport, {})).document),
    async apply(client, { destinations, services, routes, comment, expectedVersion }) {
      const reply = await client.call(routesApply, { destinations, services, routes, comment, expectedVersion })
      return outcomeOf(reply)
    },
  }),
  Service: declare<z.output<typeof serviceDocument>>({
    noun: "service",
    schema: serviceDocument,
    text: serviceText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(servicesGet, { name }), "gateway.service-not-found")
      return stored && serviceText(stored)
    },
    complete: readApiDocument,
    async apply(client, value) {
      const document = value.document as Record<string, unknown>
      return outcomeOf(await client.call(servicesPut, { ...value, document }))
    },
  }),
  ...triggerKinds,
  Subscription: declare<z.output<typeof subscription>>({
    noun: "subscription",
    schema: subscription,
    text: subscriptionText,
    async findText(client, { name }) {
      const stored = await findUnless(client.call(subscriptionsGet, { name }), "notifications.subscription-not-found")
      return stored && subscriptionText(stored)
    },
    apply: async (client, value) => outcomeOf(await client.call(subscriptionsApply, value)),
  }),
}

/** What a document calls the principals of its members, by their ids. */
async function namesOfPrincipals(
  client: Client,
  members: ReadonlyArray<{ readonly principal?: string | undefined }>,
): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>()
  for (const { principal } of members) {
    if (principal === undefined) continue
    const found = await findUnless(client.call(principalsGet, { principal }), "identity.principal-not-found")
    if (found) names.set(found.id, principal)
  }
  return names
}

async function findGroupText(client: Client, { name }: Group): Promise<string | undefined> {
  const stored = await findUnless(client.call(groupsGet, { name }), "fleet.group-not-found")
  return stored && groupText(stored)
}
