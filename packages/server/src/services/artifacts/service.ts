import { artifactContentPath, artifactLimits } from "@signalbox/contracts/artifacts/operations"
import type { Service } from "../../router/handler.ts"
import type { ArtifactFinder } from "../../router/ports.ts"
import type { CronTask } from "../../storage/background-queue.ts"
import { artifactsHandlers, type ArtifactsParts } from "./handlers.ts"
import { findReady, listAbandoned, lockAbandoned, removeArtifact } from "./store.ts"

const abandonedRemovedMax = 1000

/** Files that steps put on nodes: uploaded in parts, checked, fetched by agents with ranges. */
export function createArtifactsService(parts: ArtifactsParts): { service: Service; finder: ArtifactFinder } {
  return {
    service: { name: "artifacts", handlers: artifactsHandlers(parts), cronTasks: [abandonedUploads(parts)] },
    finder: {
      async find(account, nameOrDigest) {
        const row = await findReady(parts.database, account, nameOrDigest)
        if (!row) return undefined
        const { name, digest, bytes } = row
        return { name, digest, bytes, path: artifactContentPath(digest) }
      },
    },
  }
}

function abandonedUploads({ blobs }: ArtifactsParts): CronTask {
  return {
    name: "artifacts.abandoned-uploads",
    cron: "47 * * * *",
    async run({ database, signal }) {
      for (const { account, id } of await listAbandoned(
        database,
        artifactLimits.unfinishedKeptDays,
        abandonedRemovedMax,
      )) {
        if (signal.aborted) return
        await database.transaction(async (tx) => {
          // Somebody may have gone on with it, or have finished it, since it was listed.
          if (!(await lockAbandoned(tx, account, { id, days: artifactLimits.unfinishedKeptDays }))) return
          await removeArtifact(tx, account, id)
          await blobs.unreference(tx, { account, aggregate: id })
        })
      }
    },
  }
}
