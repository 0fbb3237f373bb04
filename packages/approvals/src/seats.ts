/** Which seats a level has, and whose turn it is on them. */
import { assert } from "@signalbox/kernel/assert"
import { isSeatLive, nextSeatState, type SeatEvent } from "./seat-machine.ts"
import type { GroupRule, Identity, LevelRule, MemberRule, Person } from "./template-rules.ts"
import type { RequestState, Seat, SeatBar, SeatVote, World } from "./types.ts"

/** Who asks, as far as bans look: a request sent for somebody else is no way round them. */
export type Askers = Pick<RequestState, "requester" | "submitter">

export function moveSeat(seat: Seat, event: SeatEvent, vote: SeatVote | null = null): Seat {
  const state = nextSeatState(seat.state, event)
  assert(state !== undefined, `a ${seat.state} seat can't ${event}`)
  return { ...seat, state, vote }
}

/** Only key and name: what is stored and told of a person. */
export function personOf({ key, name }: Person): Person {
  return name === undefined ? { key } : { key, name }
}

function haveCommon(a: readonly string[], b: readonly string[]): boolean {
  return a.some((each) => b.includes(each))
}

function isAsker({ requester, submitter }: Askers, { keys }: Identity): boolean {
  return haveCommon(keys, requester.keys) || haveCommon(keys, submitter.keys)
}

/** Why a person may not answer at a level; the same for members, delegates and those who come by a link. */
export function findBar(rule: LevelRule, askers: Askers, who: Identity): SeatBar | null {
  if (isAsker(askers, who)) return rule.selfApproval === true ? null : "self-approval"
  const teams = [...askers.requester.teams, ...askers.submitter.teams]
  return rule.sameTeam === "barred" && haveCommon(who.teams, teams) ? "same-team" : null
}

interface Pinning {
  readonly rule: LevelRule
  readonly askers: Askers | null
  readonly world: Pick<World, "findGroup">
}

function newSeat({ rule, askers }: Pinning, member: MemberRule, group: GroupRule): Seat {
  const bar = askers && findBar(rule, askers, member)
  return {
    ...personOf(member),
    state: bar ? "barred" : "waiting",
    bar,
    groups: [group.name],
    weight: member.weight ?? 1,
    veto: member.veto ?? false,
    absent: false,
    delegate: null,
    escalation: false,
    vote: null,
    votesCount: 0,
  }
}

/** New seats of a group's members as they are now; none where there is no such group. */
export function pinSeats(pinning: Pinning, groupName: string): Seat[] {
  const group = pinning.world.findGroup(groupName)
  if (!group) return []
  return group.members.filter(({ disabled }) => disabled !== true).map((member) => newSeat(pinning, member, group))
}

/** One seat a key: whoever is in both keeps the seat, with the larger weight. Nobody loses anything by what is added. */
export function joinSeats(seats: readonly Seat[], added: readonly Seat[]): Seat[] {
  const joined = new Map(seats.map((seat) => [seat.key, seat]))
  for (const each of added) {
    const seat = joined.get(each.key)
    if (!seat) {
      joined.set(each.key, { ...each, escalation: true })
      continue
    }
    const returned = seat.state === "removed" && each.state === "waiting" ? moveSeat(seat, "return") : seat
    joined.set(each.key, {
      ...returned,
      groups: [...new Set([...seat.groups, ...each.groups])],
      weight: Math.max(seat.weight, each.weight),
      veto: seat.veto || each.veto,
    })
  }
  return [...joined.values()]
}

/**
 * The group whose members the level's escalation adds; undefined where it adds nobody. Where it jumps, there is a next
 * level to jump to.
 */
export function escalationGroupOf({ escalation }: LevelRule, isLast: boolean): string | undefined {
  return escalation && !(escalation.jump === true && !isLast) ? escalation.group : undefined
}

/** Who answers for a member now: this request's own delegation first, else the one in force that began last. */
function findDelegate(
  state: RequestState,
  memberKey: string,
  world: World,
): { readonly to: Person | null } | undefined {
  const own = state.delegations.find(({ member }) => member === memberKey)
  if (own) return own
  const inForce = world.delegationsOf(memberKey).filter(({ from, until }) => from <= world.now && world.now < until)
  return inForce.toSorted((a, b) => b.from - a.from)[0]
}

function isSamePerson(a: Person | null, b: Person | null): boolean {
  return a?.key === b?.key && a?.name === b?.name
}

/** Who may vote in the member's place now, and whether nobody does. */
function withDelegate(state: RequestState, seat: Seat, world: World): Seat {
  const delegation = findDelegate(state, seat.key, world)
  const delegate = delegation?.to && delegation.to.key !== seat.key ? personOf(delegation.to) : null
  const absent = delegation !== undefined && delegation.to === null
  return absent === seat.absent && isSamePerson(delegate, seat.delegate) ? seat : { ...seat, delegate, absent }
}

/**
 * The seats as the directory is now: who has left is removed and their vote with them; who came back votes anew. What
 * has not changed is the same object.
 */
export function refreshSeats(state: RequestState, seats: readonly Seat[], world: World): readonly Seat[] {
  const names = new Set(seats.flatMap(({ groups }) => groups))
  const present = new Map(
    [...names].map((name) => {
      const members = world.findGroup(name)?.members.filter(({ disabled }) => disabled !== true) ?? []
      return [name, new Set(members.map(({ key }) => key))]
    }),
  )
  const refreshed = seats.map((seat) => {
    const isMember = seat.groups.some((name) => present.get(name)?.has(seat.key))
    const stays = seat.state === "barred" || isMember === isSeatLive(seat.state)
    return withDelegate(state, stays ? seat : moveSeat(seat, isMember ? "return" : "remove"), world)
  })
  return refreshed.every((seat, index) => seat === seats[index]) ? seats : refreshed
}

/** Whether somebody may vote on the seat as its member or, once removed from it, as the member's delegate. */
export function isSeatOf(seat: Seat, key: string): boolean {
  return seat.key === key || seat.delegate?.key === key
}
