import { demoPlan } from "./demo-plan.ts"

export const workflowName = "web-config"

/** The change of the demo, as a person would write it. */
export const workflowDocument = `kind: Workflow
name: web-config
description: Write the configuration, restart the service, check that it answers
parameters:
  version: { pattern: "^v[0-9]+$" }
  workers: { type: integer, default: 2, min: 0 }
concurrency: 4
waves: [1, 100%]
bake: ${demoPlan.bakeMilliseconds / 1000}s
ramp: true
timeout: 30s
save: [etc/web.conf]
steps:
  - name: write the configuration
    run: |
      echo version=\${{ params.version }} > etc/web.conf.new
      echo workers=\${{ params.workers }} >> etc/web.conf.new
      echo token=\${{ secrets.web-token }} >> etc/web.conf.new
      cat etc/web.conf.new
      mv etc/web.conf.new etc/web.conf
  - name: restart the service
    run: ./bin/service restart
    undo: ./bin/service restart
  - name: check that it answers
    run: ./bin/check \${{ params.version }}
    timeout: 10s
`

/** What the workflow writes into \`etc/web.conf\`. */
export function configurationWritten(run: {
  readonly version: string
  readonly workers: number
  readonly secret: string
}): string {
  return `version=${run.version}\nworkers=${run.workers}\ntoken=${run.secret}\n`
}
