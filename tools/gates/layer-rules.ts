import type { IFlattenedRuleSet, IRegularForbiddenRuleType } from "dependency-cruiser"

/** Which packages of ours a package may import. A new package gets a row here before it gets a file. */
export const packageDependencies: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  contracts: ["kernel"],
  attestation: ["kernel", "contracts"],
  masking: ["kernel", "contracts"],
  expressions: ["kernel"],
  engine: ["kernel"],
  approvals: ["kernel", "expressions"],
  rules: ["kernel", "expressions"],
  sdk: ["kernel", "contracts"],
  agent: ["kernel", "contracts", "attestation", "masking", "expressions"],
  server: ["kernel", "contracts", "attestation", "masking", "engine", "expressions", "approvals", "rules"],
  cli: ["kernel", "contracts", "attestation", "sdk", "server", "agent"],
  testkit: ["kernel", "contracts", "engine", "server"],
}

/** Libraries that compute and do nothing else. */
const pureLibraries = ["zod", "yaml", "@bufbuild/cel", "@bufbuild/re2"]

const testFile = "[.](?:test|fixture)[.]ts$"
const pureFile = "^packages/(?:kernel|expressions|contracts|engine|approvals|rules)/src/|^packages/.+/model[.]ts$"
const service = "^packages/server/src/services/([^/]+)/"

function forbid(
  name: string,
  comment: string,
  rule: Pick<IRegularForbiddenRuleType, "from" | "to">,
): IRegularForbiddenRuleType {
  return { name, comment, severity: "error", ...rule }
}

const packageRules = Object.entries(packageDependencies).map(([from, to]) =>
  forbid(`layer-${from}`, `${from} imports only ${to.join(", ") || "nothing"} of ours`, {
    from: { path: `^packages/${from}/src/`, pathNot: testFile },
    to: { path: "^packages/", pathNot: `^packages/(?:${[from, ...to].join("|")})/` },
  }),
)

export const layerRules: IFlattenedRuleSet = {
  forbidden: [
    ...packageRules,
    forbid("known-package", "a package without a row in packageDependencies has no layer", {
      from: { path: "^packages/", pathNot: `^packages/(?:${Object.keys(packageDependencies).join("|")})/` },
      to: {},
    }),
    forbid("cli-lazy", "commands load server and agent on first use, so that the others start fast", {
      from: { path: "^packages/cli/src/", pathNot: testFile },
      to: { path: "^packages/(?:server|agent)/", dynamic: false, dependencyTypesNot: ["type-only"] },
    }),
    forbid("pure-no-builtin", "pure code reads no clock, no file and no network: it imports nothing of Node's", {
      from: { path: pureFile, pathNot: testFile },
      to: { dependencyTypes: ["core"] },
    }),
    forbid("pure-no-library", `pure code uses no library but ${pureLibraries.join(" and ")}`, {
      from: { path: pureFile, pathNot: testFile },
      to: { path: "(?:^|/)node_modules/", pathNot: `(?:^|/)node_modules/(?:${pureLibraries.join("|")})/` },
    }),
    forbid("model-no-shell", "a model decides; store, handlers and background act on what it says", {
      from: { path: "/model[.]ts$" },
      to: { path: "^packages/server/src/(?:router|storage|http)/|/(?:store|handlers|background|service)[.]ts$" },
    }),
    forbid("services-apart", "services call each other through the router and hear of each other by events", {
      from: { path: service, pathNot: testFile },
      to: { path: "^packages/server/src/services/", pathNot: "^packages/server/src/services/$1/" },
    }),
    forbid("compose-constructs", "compose.ts and composition/ are the only place that constructs services", {
      from: {
        path: "^packages/",
        pathNot: ["^packages/server/src/(?:compose[.]ts$|composition/|services/)", testFile],
      },
      to: { path: "^packages/server/src/services/[^/]+/service[.]ts$" },
    }),
    forbid("service-door", "a service is reached through its service.ts and through nothing else", {
      from: { path: "^packages/", pathNot: ["^packages/server/src/services/", testFile] },
      to: { path: service, pathNot: "/service[.]ts$" },
    }),
    forbid("router-below-services", "the router declares ports; services fill them", {
      from: { path: "^packages/server/src/router/", pathNot: testFile },
      to: { path: "^packages/server/src/(?:services/|compose[.]ts$|composition/)" },
    }),
    forbid("storage-lowest", "storage knows neither services nor the router", {
      from: { path: "^packages/server/src/storage/", pathNot: testFile },
      to: { path: "^packages/server/src/(?:services/|router/|compose[.]ts$|composition/)" },
    }),
    forbid("driver-in-storage", "only storage holds the database driver, so that no one opens a connection beside it", {
      from: { path: "^packages/", pathNot: ["^packages/server/src/storage/", "^packages/testkit/", testFile] },
      to: { path: "(?:^|/)node_modules/pg(?:-copy-streams)?/", dependencyTypesNot: ["type-only"] },
    }),
    forbid("egress-only", "calls to addresses that somebody wrote down leave by egress, which checks where they go", {
      from: {
        path: "^packages/server/src/",
        pathNot: ["^packages/server/src/(?:egress/|storage/s3-blob-store[.]ts$)", testFile],
      },
      to: { path: "(?:^|/)node_modules/undici/", dependencyTypesNot: ["type-only"] },
    }),
    forbid("no-tests-in-production", "what ships imports neither tests nor the testkit", {
      from: { path: "^packages/", pathNot: ["^packages/testkit/", testFile] },
      to: { path: [testFile, "^packages/testkit/"] },
    }),
    forbid("packages-stand-alone", "what ships imports nothing of tools, bench, docs and examples", {
      from: { path: "^packages/" },
      to: { path: "^(?:tools|bench|docs|examples|test)/" },
    }),
    forbid("no-circular", "what goes round has no order to read it in", { from: {}, to: { circular: true } }),
    forbid("resolvable", "an import that isn't found is a layer that isn't checked", {
      from: {},
      to: { couldNotResolve: true },
    }),
  ],
}
