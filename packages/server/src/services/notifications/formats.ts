import { suppressedText, type Message } from "./model.ts"

/** A message as each kind of channel wants it. Pure. */

/** Slack's incoming webhooks: Block Kit, with a plain text for notifications on a phone. */
export function slackPayload(message: Message, suppressed: number): object {
  const mark = message.severity === "alert" ? ":rotating_light: " : ""
  const fields = message.facts.map(([label, value]) => ({
    type: "mrkdwn",
    text: `*${slackText(label)}*\n${slackText(value)}`.slice(0, 2000),
  }))
  const notes = [
    ...(suppressed > 0 ? [suppressedText(suppressed)] : []),
    ...(message.command === undefined ? [] : [`\`${slackText(message.command)}\``]),
    ...(message.link === undefined ? [] : [`<${slackText(message.link)}|Details>`]),
  ]
  const buttons = (message.actions ?? []).map(({ label, url }) => ({
    type: "button",
    text: { type: "plain_text", text: label.slice(0, 75) },
    url,
  }))
  return {
    text: `${mark}${slackText(message.title)}`,
    blocks: [
      { type: "section", text: { type: "mrkdwn", text: `${mark}*${slackText(message.title)}*` } },
      // A section has at most ten fields.
      ...chunk(fields, 10).map((part) => ({ type: "section", fields: part })),
      ...(buttons.length === 0 ? [] : [{ type: "actions", elements: buttons }]),
      ...(notes.length === 0 ? [] : [{ type: "context", elements: [{ type: "mrkdwn", text: notes.join("\n") }] }]),
    ],
  }
}

/** The three characters that Slack gives a meaning of their own, mentions among them. */
function slackText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
}

/** Teams' workflow webhooks ("When a Teams webhook request is received"): a message with an Adaptive Card. */
export function teamsPayload(message: Message, suppressed: number): object {
  const notes = [
    ...(suppressed > 0 ? [suppressedText(suppressed)] : []),
    ...(message.command === undefined ? [] : [message.command]),
  ]
  return {
    type: "message",
    attachments: [
      {
        contentType: "application/vnd.microsoft.card.adaptive",
        contentUrl: null,
        content: {
          $schema: "http://adaptivecards.io/schemas/adaptive-card.json",
          type: "AdaptiveCard",
          version: "1.4",
          body: [
            {
              type: "TextBlock",
              text: message.title,
              weight: "Bolder",
              size: "Medium",
              wrap: true,
              color: message.severity === "alert" ? "Attention" : "Default",
            },
            { type: "FactSet", facts: message.facts.map(([title, value]) => ({ title, value })) },
            ...notes.map((text) => ({ type: "TextBlock", text, wrap: true, isSubtle: true })),
          ],
          ...teamsActions(message),
        },
      },
    ],
  }
}

function teamsActions({ actions = [], link }: Message): object {
  const all = [...actions, ...(link === undefined ? [] : [{ label: "Details", url: link }])]
  if (all.length === 0) return {}
  return { actions: all.map(({ label, url }) => ({ type: "Action.OpenUrl", title: label, url })) }
}

/** The mail's second part: the same as its text, readable on a phone. */
export function mailHtml(message: Message, suppressed: number): string {
  if (message.html !== undefined) return message.html
  const color = message.severity === "alert" ? "#c92a2a" : "#1864ab"
  const rows = message.facts.map(
    ([label, value]) =>
      `<tr><td style="padding:2px 12px 2px 0;color:#666;vertical-align:top">${htmlText(label)}</td><td>${htmlText(value)}</td></tr>`,
  )
  return [
    `<!doctype html><html><body style="font-family:sans-serif;font-size:15px">`,
    `<p style="font-size:18px;font-weight:bold;color:${color}">${htmlText(message.title)}</p>`,
    `<table cellspacing="0" cellpadding="0">${rows.join("")}</table>`,
    ...(suppressed > 0 ? [`<p>${htmlText(suppressedText(suppressed))}</p>`] : []),
    ...(message.command === undefined ? [] : [`<p><code>${htmlText(message.command)}</code></p>`]),
    ...(message.actions ?? []).map(({ label, url }) => `<p><a href="${htmlText(url)}">${htmlText(label)}</a></p>`),
    ...(message.link === undefined ? [] : [`<p><a href="${htmlText(message.link)}">Details</a></p>`]),
    "</body></html>",
  ].join("\n")
}

function htmlText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
}

function chunk<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  )
}
