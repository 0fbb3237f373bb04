import type { ChaosSize } from "./chaos-rounds.fixture.ts"

export type ChaosKind = "kills" | "database" | "takeovers" | "servers"

/** 200 nodes in 20 processes; 5,000 tasks while the database goes away; two takeovers a round; two servers that share 80 nodes. */
export const chaosSizes: Readonly<Record<ChaosKind, ChaosSize>> = {
  kills: {
    hosts: 20,
    nodesPerHost: 10,
    runs: 1,
    runsAtOnce: 1,
    disturbancesMax: 12,
    quietMillisecondsMax: 2_000,
    stepSecondsMax: 3,
  },
  database: {
    hosts: 20,
    nodesPerHost: 10,
    runs: 25,
    runsAtOnce: 5,
    disturbancesMax: 18,
    quietMillisecondsMax: 6_000,
    stepSecondsMax: 0.5,
  },
  takeovers: {
    hosts: 4,
    nodesPerHost: 10,
    runs: 2,
    runsAtOnce: 2,
    disturbancesMax: 2,
    quietMillisecondsMax: 2_000,
    stepSecondsMax: 10,
  },
  servers: {
    hosts: 8,
    nodesPerHost: 10,
    runs: 6,
    runsAtOnce: 3,
    disturbancesMax: 8,
    quietMillisecondsMax: 4_000,
    stepSecondsMax: 4,
  },
}

export const smallSizes: Readonly<Record<ChaosKind, ChaosSize>> = {
  kills: { ...chaosSizes.kills, hosts: 2, nodesPerHost: 5, disturbancesMax: 2, quietMillisecondsMax: 800 },
  database: {
    ...chaosSizes.database,
    hosts: 2,
    nodesPerHost: 5,
    runs: 2,
    runsAtOnce: 2,
    disturbancesMax: 5,
    quietMillisecondsMax: 1_500,
  },
  takeovers: {
    ...chaosSizes.takeovers,
    hosts: 2,
    nodesPerHost: 3,
    disturbancesMax: 1,
    quietMillisecondsMax: 500,
    stepSecondsMax: 2,
  },
  servers: {
    ...chaosSizes.servers,
    hosts: 4,
    nodesPerHost: 3,
    runs: 2,
    runsAtOnce: 2,
    disturbancesMax: 3,
    quietMillisecondsMax: 800,
    stepSecondsMax: 2,
  },
}
