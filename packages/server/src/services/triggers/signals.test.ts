import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Meter, startTriggersFixture, type TriggersFixture } from "./triggers.fixture.ts"

let fixture: TriggersFixture
beforeAll(async () => {
  fixture = await startTriggersFixture()
}, 60_000)
afterAll(() => fixture.server.stop(), 60_000)

const waits = { timeout: 30_000, interval: 20 }

const disk = { metric: { disk: "/" }, raise: { above: 90 }, clear: { below: 80 } }

interface State {
  readonly node: string
  readonly state: string
  readonly value?: number
  readonly silenced?: object
  readonly latest?: { value?: number; problem?: string }
}

const statesOf = async (signal: string) =>
  (await fixture.get(`/v1/signals/${signal}/states`))["items"] as unknown as State[]

const stateOf = async (signal: string, node: string) => (await statesOf(signal)).find((each) => each.node === node)

/** Events of one signal, as words. */
const told = async (signal: string) =>
  (await fixture.events("signal.raised", "signal.cleared"))
    .filter(({ data }) => data["signal"] === signal)
    .map(({ type, data }) => `${type} ${String(data["node"])} ${String(data["value"])}`)

/** Says a value, and waits until the server has taken it. */
async function say(meter: Meter, value: number, { signal, node }: { signal: string; node: string }): Promise<void> {
  meter.say(value)
  await expect.poll(async () => (await stateOf(signal, node))?.latest?.value, waits).toBe(value)
}

describe("R5, R13: signals", () => {
  test("a node is asked for nothing while no signal watches it, and for each figure once", async () => {
    const machine = await fixture.machine("asked", { role: "asked" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/asked-other", { ...disk, nodes: "role=none" })
    await fixture.put("/v1/signals/asked-load", { metric: { load: true }, nodes: "role=asked", raise: { above: 1 } })
    expect(await meter.asked()).toMatchObject([{ metric: { kind: "load" }, everyMilliseconds: 15_000 }])
    await fixture.put("/v1/signals/asked-high", { metric: { load: true }, nodes: "role=asked", raise: { above: 9 } })
    await fixture.put("/v1/signals/asked-disk", { ...disk, nodes: "role=asked", every: "1m" })
    const both = await meter.asked()
    expect(both.map(({ metric }) => metric).toSorted((a, b) => (a.kind < b.kind ? -1 : 1))).toEqual([
      { kind: "disk", path: "/" },
      { kind: "load" },
    ])
    for (const name of ["asked-load", "asked-high", "asked-disk"]) await fixture.remove(`/v1/signals/${name}`)
    const counts: number[] = []
    while (counts.at(-1) !== 0) counts.push((await meter.asked()).length)
    meter.session.end()
  })

  test("raises once, keeps still within the hysteresis, clears once; each with its event and state", async () => {
    const machine = await fixture.machine("full", { role: "full", rack: "r1" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/disk-full", { ...disk, nodes: "role=full" })
    await meter.asked()
    const place = { signal: "disk-full", node: "full" }
    meter.say(50)
    await expect.poll(() => stateOf("disk-full", "full"), waits).toMatchObject({ state: "clear" })
    for (const value of [91, 89, 95, 81, 92]) await say(meter, value, place)
    await expect.poll(() => told("disk-full"), waits).toEqual(["signal.raised full 91"])
    await say(meter, 79, place)
    await expect.poll(() => told("disk-full"), waits).toEqual(["signal.raised full 91", "signal.cleared full 79"])
    for (const value of [85, 90, 81]) await say(meter, value, place)
    expect(await told("disk-full")).toHaveLength(2)
    const [raised] = await fixture.events("signal.raised")
    expect(raised?.data).toMatchObject({
      ...{ signal: "disk-full", node: "full", nodeId: machine.node, value: 91, threshold: 90, reason: "threshold" },
      labels: { role: "full", rack: "r1", node: "full" },
    })
    meter.session.end()
  })

  test("a sample that changes nothing writes nothing", async () => {
    const machine = await fixture.machine("still", { role: "still" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/still", { ...disk, nodes: "role=still" })
    await meter.asked()
    meter.say(10)
    await expect.poll(() => stateOf("still", "still"), waits).toMatchObject({ state: "clear" })
    const row = () =>
      fixture.server.test.database.query("select xmin::text, version from signal_states where node_id = $1", [
        machine.node,
      ])
    const before = await row()
    for (const value of [11, 12, 13]) await say(meter, value, { signal: "still", node: "still" })
    meter.fail("no such file")
    await expect.poll(async () => (await stateOf("still", "still"))?.latest?.problem, waits).toBe("no such file")
    expect(await row()).toEqual(before)
    meter.session.end()
  })

  test("a node that never had a figure is listed with its problem, and told to nobody", async () => {
    const machine = await fixture.machine("mute", { role: "mute" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/mute", { ...disk, nodes: "role=mute" })
    await meter.asked()
    meter.fail("no such file")
    const listed = { state: "unknown", latest: { problem: "no such file" } }
    await expect.poll(() => stateOf("mute", "mute"), waits).toMatchObject(listed)
    meter.say(95)
    await expect.poll(() => told("mute"), waits).toEqual(["signal.raised mute 95"])
    meter.session.end()
  })

  test("what is raised stays so over a new session and another server, and is not told again", async () => {
    const machine = await fixture.machine("moved", { role: "moved" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/moved", { ...disk, nodes: "role=moved" })
    await meter.asked()
    meter.say(99)
    await expect.poll(() => told("moved"), waits).toEqual(["signal.raised moved 99"])
    const other = await fixture.server.another()
    const there = await Meter.connect(other, machine)
    await there.asked()
    there.say(98)
    const latest = async () => {
      const answer = await other.call(fixture.key, "GET", "/v1/signals/moved/states")
      return (answer.body["items"] as unknown as State[])[0]?.latest?.value
    }
    await expect.poll(latest, waits).toBe(98)
    there.say(10)
    await expect.poll(() => told("moved"), waits).toEqual(["signal.raised moved 99", "signal.cleared moved 10"])
    there.session.end()
    await other.halt()
  })

  test("a tag that goes ends the watch; a node that is removed clears what it had raised", async () => {
    const machine = await fixture.machine("leaving", { role: "leaving" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/leaving", { ...disk, nodes: "role=leaving" })
    await meter.asked()
    meter.say(99)
    await expect.poll(() => told("leaving"), waits).toHaveLength(1)
    await fixture.server.call(fixture.key, "PATCH", "/v1/nodes/leaving", { tags: { role: "other" } })
    expect(await meter.asked()).toEqual([])
    await expect.poll(() => told("leaving"), waits).toEqual(["signal.raised leaving 99", "signal.cleared leaving null"])
    await fixture.server.call(fixture.key, "PATCH", "/v1/nodes/leaving", { tags: { role: "leaving" } })
    await meter.asked()
    meter.say(97)
    await expect.poll(() => told("leaving"), waits).toHaveLength(3)
    await fixture.remove("/v1/nodes/leaving")
    await expect.poll(() => told("leaving"), waits).toHaveLength(4)
    expect(await statesOf("leaving")).toEqual([])
  })

  test("missing data: a signal that says so raises when its node has gone, and is as it was where it says nothing", async () => {
    const machine = await fixture.machine("gone", { role: "gone" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/gone", { ...disk, nodes: "role=gone", missing: { as: "raised", after: "1s" } })
    await meter.asked()
    await fixture.put("/v1/signals/gone-kept", { ...disk, nodes: "role=gone" })
    await expect.poll(() => stateOf("gone-kept", "gone"), waits).toBe(undefined)
    meter.say(10)
    await expect.poll(() => stateOf("gone", "gone"), waits).toMatchObject({ state: "clear" })
    await expect.poll(() => stateOf("gone-kept", "gone"), waits).toMatchObject({ state: "clear" })
    // A session so short that nobody was told of it has no end that anybody is told of.
    await expect.poll(async () => (await fixture.get("/v1/nodes/gone"))["state"], waits).toBe("online")
    meter.session.end()
    await expect.poll(() => told("gone"), waits).toEqual(["signal.raised gone null"])
    expect(await stateOf("gone-kept", "gone")).toMatchObject({ state: "clear" })
  })

  test("R16: silenced, it raises and says so; when the silence is over it is told again", async () => {
    const machine = await fixture.machine("hushed", { role: "hushed" })
    const meter = await Meter.connect(fixture.server, machine)
    await fixture.put("/v1/signals/hushed", { ...disk, nodes: "role=hushed" })
    const until = new Date(Date.now() + 3_600_000).toISOString()
    await fixture.put("/v1/silences/move", { signals: ["hush*"], nodes: "role=hushed", until, reason: "we move" })
    await meter.asked()
    meter.say(99)
    await expect.poll(() => told("hushed"), waits).toHaveLength(1)
    expect(await stateOf("hushed", "hushed")).toMatchObject({ silenced: { by: "silence", name: "move" } })
    const events = async () =>
      (await fixture.events("signal.raised", "signal.cleared")).filter(({ data }) => data["signal"] === "hushed")
    expect((await events())[0]?.data["silenced"]).toEqual({ by: "silence", name: "move" })
    await fixture.remove("/v1/silences/move")
    await expect.poll(() => told("hushed"), waits).toHaveLength(2)
    expect((await events())[1]?.data).toMatchObject({ reason: "silence-ended", value: 99 })
    expect((await events())[1]?.data["silenced"]).toBeUndefined()
    meter.say(10)
    await expect.poll(() => told("hushed"), waits).toHaveLength(3)
    expect((await events())[2]?.data["silenced"]).toBeUndefined()
    meter.session.end()
  })

  test("R16: a signal that is raised keeps others quiet where the labels are equal, and no others", async () => {
    const inhibits = { signals: ["rack-*"], equal: ["rack"] }
    await fixture.put("/v1/signals/rack-power", { ...disk, nodes: "unit=power", inhibits })
    await fixture.put("/v1/signals/rack-web", { ...disk, nodes: "unit=web" })
    const connect = async (name: string, tags: Record<string, string>) => {
      const meter = await Meter.connect(fixture.server, await fixture.machine(name, tags))
      await meter.asked()
      return meter
    }
    const power = await connect("power-1", { unit: "power", rack: "r7" })
    const same = await connect("web-7", { unit: "web", rack: "r7" })
    const other = await connect("web-8", { unit: "web", rack: "r8" })
    power.say(99)
    await expect.poll(() => told("rack-power"), waits).toHaveLength(1)
    same.say(99)
    other.say(99)
    await expect.poll(() => told("rack-web"), waits).toHaveLength(2)
    expect((await stateOf("rack-web", "web-7"))?.silenced).toEqual({ by: "signal", name: "rack-power" })
    expect((await stateOf("rack-web", "web-8"))?.silenced).toBeUndefined()
    power.say(10)
    await expect.poll(async () => (await stateOf("rack-web", "web-7"))?.silenced, waits).toBeUndefined()
    expect((await told("rack-web")).filter((text) => text.includes("web-7"))).toHaveLength(2)
    for (const meter of [power, same, other]) meter.session.end()
  })

  test.each([
    [{ metric: { load: true }, raise: {} }, "raise"],
    [{ metric: { load: true }, raise: { above: 1, below: 2 } }, "raise"],
    [{ metric: { load: true }, raise: { above: 5 }, clear: { below: 6 } }, "clear"],
    [{ metric: { load: true }, raise: { above: 5 }, clear: { above: 4 } }, "clear"],
    [{ metric: { load: true }, raise: { below: 5 }, clear: { above: 4 } }, "clear"],
    [{ metric: { load: true }, raise: { above: 5 }, every: "1s" }, "every"],
    [{ metric: { command: "echo 1", timeout: "20s" }, raise: { above: 5 } }, "metric.timeout"],
  ])("a signal that can't be is refused: %j", async (...[input, place]) => {
    const answer = await fixture.server.call(fixture.key, "PUT", "/v1/signals/wrong", input)
    expect([answer.status, answer.body["code"]]).toEqual([400, "triggers.invalid-signal"])
    expect(answer.body["issues"]).toMatchObject([{ path: place }])
  })
})
