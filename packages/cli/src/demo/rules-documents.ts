import { rulesPlan } from "./rules-plan.ts"

const { raiseAbove, clearBelow, measureEvery, spaceKilobytes, version, onCall } = rulesPlan

export const cleanUp = "clean-up"
export const cleanRule = "clean-full-disks"
export const canaryRule = "update-canaries"
export const loopRules = ["prefer-blue", "prefer-green"] as const
export const diskSignal = "disk-full"

/** The signal and what it sets going, as a person would write it. */
export const diskDocuments = `kind: Signal
name: ${diskSignal}
nodes: role=web
metric: { command: "echo $(( $(du -sk var | cut -f1) * 100 / ${spaceKilobytes} ))" }
raise: { above: ${raiseAbove} }
clear: { below: ${clearBelow} }
every: ${measureEvery}
---
kind: Workflow
name: ${cleanUp}
description: Remove logs that were put aside
steps:
  - name: what takes the space
    run: du -sk var/*
  - name: remove old logs
    run: rm -f var/log/*.old
---
kind: Rule
name: ${cleanRule}
on:
  - signal: ${diskSignal}
limit: { onceWithin: 10m, by: [event.data.node] }
do:
  - operation: executions.create
    input:
      workflow: ${cleanUp}
      targets: { nodes: ["\${{ event.data.node }}"] }
      note: "disk at \${{ event.data.value }} %"
---
kind: Rule
name: ask-before-${cleanUp}
on:
  - { operation: executions.create, phase: before }
when: has(input.workflow) && input.workflow == "${cleanUp}"
do:
  - requireApproval: { template: web-change }
`

/** A rule that follows an operation. */
export const canaryDocument = `kind: Rule
name: ${canaryRule}
on:
  - { operation: nodes.update, phase: after }
when: has(output.tags.ring) && output.tags.ring == "canary"
do:
  - operation: executions.create
    input:
      workflow: web-config
      targets: { nodes: ["\${{ output.name }}"] }
      parameters: { version: ${version} }
`

/** Two rules, each of which undoes what the other one did. */
export const loopDocuments = `kind: Rule
name: ${loopRules[0]}
on:
  - event: node.updated
when: has(event.data.tags.colour) && event.data.tags.colour == "green"
do:
  - operation: nodes.update
    input: { node: "\${{ event.subject }}", tags: { colour: blue } }
---
kind: Rule
name: ${loopRules[1]}
on:
  - event: node.updated
when: has(event.data.tags.colour) && event.data.tags.colour == "blue"
do:
  - operation: nodes.update
    input: { node: "\${{ event.subject }}", tags: { colour: green } }
---
kind: Channel
name: on-call
via: mail
to: [${onCall}]
---
kind: Subscription
name: loops
channel: on-call
events: [action.stopped]
`
