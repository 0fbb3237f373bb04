/**
 * Every refusal and failure Signalbox can report, in one table: `service.kebab-reason` -> kind, whether a repeat of
 * the same call can succeed, and one line that says what to do. Each edge maps the *kinds* once (HTTP status, exit
 * code, agent retry). `docs/errors.md` is generated from this table; a test holds the two together.
 */

export type ErrorKind =
  | "invalid" // the input is wrong; sending it again changes nothing (400)
  | "unauthenticated" // no principal could be established (401)
  | "forbidden" // the principal may not do this (403)
  | "not-found" // nothing of that name in this account (404)
  | "conflict" // the state of the resource does not allow it now (409)
  | "too-large" // over a named limit (413)
  | "mismatch" // well-formed, but contradicts what was said before (422)
  | "limited" // too many calls (429)
  | "unavailable" // a part is not ready or out of reach (503)
  | "failed-outside" // a service outside did not do its part (502)
  | "late-outside" // a service outside did not answer in time (504)
  | "internal" // a bug or a broken installation (500)

export interface ErrorEntry {
  readonly kind: ErrorKind
  readonly retryable: boolean
  readonly help: string
}

const entry = (kind: ErrorKind, help: string, retryable = false): ErrorEntry => ({ kind, retryable, help })

export const errorCatalogue = {
  // Requests in general
  "request.invalid-input": entry(
    "invalid",
    "Correct the fields listed in `issues`; the operation's schema is in /v1/openapi.json.",
  ),
  "request.invalid-json": entry("invalid", "Send a body that is valid JSON in UTF-8."),
  "request.body-too-large": entry("too-large", "Send a smaller body; the limit is named in the message."),
  "request.unsupported-media-type": entry("invalid", "Send the body as application/json."),
  "request.invalid-cursor": entry(
    "invalid",
    "Use the cursor exactly as an earlier page returned it, or start without one.",
  ),
  "request.rate-limited": entry("limited", "Wait for the seconds given in Retry-After and try again.", true),
  "request.idempotency-key-required": entry(
    "invalid",
    "Send an Idempotency-Key header: any text of 8 to 128 printable characters, new for each intended change.",
  ),
  "request.idempotency-key-reused": entry(
    "mismatch",
    "This key was used with another body; choose a new key for a new change.",
  ),
  "request.idempotency-in-flight": entry(
    "conflict",
    "The first call with this key is still running; repeat it in a moment to get its result.",
    true,
  ),
  "request.internal": entry(
    "internal",
    "This is a fault in Signalbox. Report it with the request id; the server's log has the details.",
  ),
  "request.shutting-down": entry("unavailable", "The server is stopping; try again shortly or another server.", true),

  // Routing
  "routing.unknown-operation": entry("not-found", "Check the name; `signalbox operations list` shows all of them."),
  "routing.unknown-path": entry("not-found", "Check the method and the path; /v1/openapi.json lists all of them."),
  "routing.no-route": entry(
    "unavailable",
    "The routing map has no service for this operation; restore it with `signalbox routes reset`.",
    true,
  ),
  "routing.protected-route": entry(
    "forbidden",
    "The routing map must always be repairable, so this row can't be taken out.",
  ),
  "routing.invalid-map": entry(
    "invalid",
    "The map names an operation or a service that this server doesn't have; the last good map stays in force.",
  ),

  "routing.map-changed": entry(
    "conflict",
    "Somebody changed the routing map meanwhile; look at `signalbox routes diff` and make the change again.",
  ),
  "routing.version-not-found": entry(
    "not-found",
    "Old versions are removed after a while; `signalbox routes versions` lists those that are kept.",
  ),
  "routing.destination-unreachable": entry(
    "unavailable",
    "The process that the routing map sends this operation to doesn't answer; start it, or take the row back with `signalbox routes rollback`.",
    true,
  ),
  "routing.destination-misbehaved": entry(
    "unavailable",
    "What answers at the destination's URL is no Signalbox server of this version; look at its log and at the map's URL.",
    true,
  ),
  "routing.destination-refused": entry(
    "unavailable",
    "The destination takes no calls of this server: it needs `--destination` with its name, the same database, and the right time.",
  ),
  "routing.not-served-here": entry(
    "unavailable",
    "The routing map of the server that was asked sends this operation elsewhere; a moment later both have the same map.",
    true,
  ),
  "routing.fan-out-failed": entry(
    "unavailable",
    "The operation goes to several places and `failures` says which failed; repeat it, or merge by `best-effort` instead of `all`.",
    true,
  ),
  "routing.call-refused": entry(
    "unauthenticated",
    "Only servers of this installation call here, each call with a fresh token for exactly that call.",
  ),

  // Identity
  "identity.missing-credentials": entry(
    "unauthenticated",
    "Send `Authorization: Bearer sbx_…`; `signalbox login` stores a key for the CLI.",
  ),
  "identity.invalid-credentials": entry(
    "unauthenticated",
    "The key or the session is unknown, revoked or expired; log in again, or make a key with `signalbox keys create`.",
  ),
  "identity.permission-denied": entry(
    "forbidden",
    "Ask an administrator for a role with this permission; `signalbox auth can OPERATION` explains.",
  ),
  "identity.account-not-found": entry("not-found", "Check the account's id with `signalbox accounts list`."),
  "identity.account-exists": entry("conflict", "Choose another id for the new account."),
  "identity.key-not-found": entry("not-found", "Check the key's id with `signalbox keys list`."),
  "identity.role-not-grantable": entry("forbidden", "You can only give roles whose permissions you have yourself."),
  "identity.key-owned": entry("conflict", "The key belongs to somebody already; make a new one with `--owner`."),
  "identity.narrowed": entry(
    "forbidden",
    "This key is for some nodes only; `signalbox operations list` and docs/roles.md show what it may call.",
  ),
  "identity.outranked": entry(
    "forbidden",
    "Only somebody who may do all that this principal may do can change it; ask an administrator with such a role.",
  ),
  "identity.too-many": entry(
    "conflict",
    "Remove or reuse what is no longer needed; the limit is named in the message.",
  ),
  "identity.user-not-found": entry("not-found", "Check the user's name or id with `signalbox users list`."),
  "identity.user-exists": entry("conflict", "Choose another name for the new user."),
  "identity.service-account-not-found": entry(
    "not-found",
    "Check the service account's name or id with `signalbox service-accounts list`.",
  ),
  "identity.service-account-exists": entry("conflict", "Choose another name for the new service account."),
  "identity.principal-not-found": entry(
    "not-found",
    "Check the id with `signalbox principals list`; a key without an owner is written key:key_….",
  ),
  "identity.session-not-found": entry("not-found", "Check the session's id with `signalbox sessions list`."),
  "identity.not-a-session": entry("conflict", "This needs a session: log in with `signalbox login --user NAME`."),
  "identity.login-refused": entry(
    "unauthenticated",
    "Account, name, password or code is wrong, or the user is disabled. An administrator helps with `signalbox users reset-password`.",
  ),
  "identity.too-many-attempts": entry(
    "limited",
    "Too many attempts for this user or from this address; wait for the seconds in `details.retryAfterSeconds`.",
  ),
  "identity.wrong-password": entry("forbidden", "Give the password that is in force now."),
  "identity.password-unfit": entry("invalid", "Choose another password; the message says what is wrong with this one."),
  "identity.no-password": entry("conflict", "This user logs in by an identity provider; passwords are changed there."),
  "identity.login-expired": entry(
    "conflict",
    "The login took too long, was used already, or belongs to another account; begin again.",
  ),
  "identity.provider-not-found": entry(
    "not-found",
    "Check the provider's name with `signalbox identity-providers list`; a disabled one isn't found by a login.",
  ),
  "identity.provider-unusable": entry(
    "unavailable",
    "The server can't use the identity provider; the message says what failed: its address, its metadata or its secret.",
    true,
  ),
  "identity.provider-refused": entry(
    "forbidden",
    "The identity provider refused the login, or what it sent doesn't verify; the message says which.",
  ),
  "identity.not-admitted": entry(
    "forbidden",
    "The identity provider knows you, but nobody here made you a user; ask an administrator.",
  ),
  "identity.invalid-provider": entry("invalid", "Correct the fields listed; docs/people.md says what each one means."),

  // Fleet
  "fleet.node-not-found": entry("not-found", "Check the node's name or id with `signalbox nodes list`."),
  "fleet.group-not-found": entry("not-found", "Check the group's name with `signalbox groups list`."),
  "fleet.group-exists": entry("conflict", "Choose another name, or apply the group to change it."),
  "fleet.too-many-groups": entry("conflict", "Remove groups that nothing uses; the limit is named in the message."),
  "fleet.invalid-tag-query": entry(
    "invalid",
    "Write terms like `role=web`, `env!=prod`, `region in (eu,us)`, `gpu`, `!gpu`, joined by commas.",
  ),
  "fleet.enrollment-key-not-found": entry(
    "not-found",
    "Check the enrolment key's id with `signalbox enrollment-keys list`.",
  ),
  "fleet.enrollment-key-used-up": entry(
    "forbidden",
    "The enrolment key has no uses left; make a new one with `signalbox enrollment-keys create`.",
  ),
  "fleet.enrollment-key-expired": entry(
    "forbidden",
    "The enrolment key has expired; make a new one with `signalbox enrollment-keys create`.",
  ),
  "fleet.enrollment-source-refused": entry(
    "forbidden",
    "The enrolment key doesn't allow this address; see its source ranges.",
  ),
  "fleet.enrollment-tag-refused": entry("forbidden", "The enrolment key doesn't allow these tags; see its tags."),
  "fleet.node-name-taken": entry(
    "conflict",
    "Another machine holds this node name; choose another with --name or remove the old node.",
  ),
  "fleet.public-key-taken": entry(
    "conflict",
    "Another node has this public key (a cloned image?); remove the agent's data directory, so that it makes its own key, and enrol again.",
  ),
  "fleet.agent-identity-refused": entry(
    "unauthenticated",
    "The agent's signature doesn't verify, has expired or was used before; enrol the node again if its key is lost.",
  ),
  "fleet.node-held": entry(
    "forbidden",
    "Two machines use the node's key (a cloned image?). Take it off one, enrol that one anew, then `signalbox nodes update NODE --release`.",
  ),
  "fleet.protocol-violation": entry(
    "invalid",
    "The agent sent a frame that the protocol doesn't allow; its session was closed.",
  ),
  "fleet.session-not-found": entry(
    "not-found",
    "The agent's session ended, or another server has it; the agent opens a new one by itself.",
  ),
  "fleet.unknown-task": entry("invalid", "The agent reported a task that it was never given; the report was dropped."),

  // Expressions
  "expressions.invalid": entry(
    "invalid",
    "Correct the expression at the line and column given; docs/expressions.md lists names, operators and functions.",
  ),
  "expressions.evaluation-failed": entry(
    "invalid",
    "The data didn't fit the expression; guard fields that may be absent with has(…) and convert with int(…) or string(…).",
  ),

  // Workflows and executions
  "workflows.invalid-document": entry(
    "invalid",
    "Correct the lines listed in `issues`; the schema is at /v1/schemas/workflow.json.",
  ),
  "workflows.document-too-large": entry(
    "too-large",
    "A workflow document may have at most 256 KiB; move large content into files on the node.",
  ),
  "workflows.not-found": entry("not-found", "Check the workflow's name with `signalbox workflows list`."),
  "workflows.version-not-found": entry(
    "not-found",
    "Check the workflow's versions with `signalbox workflows get NAME`.",
  ),
  "workflows.too-many": entry("conflict", "Use the names that are there again; the limit is named in the message."),
  "workflows.version-conflict": entry(
    "conflict",
    "Someone applied a newer version; look at it with `signalbox workflows get NAME` and apply again.",
  ),
  "workflows.invalid-parameters": entry(
    "invalid",
    "Give the parameters that the workflow declares; see `signalbox workflows get NAME`.",
  ),
  "workflows.invalid-template": entry(
    "invalid",
    "A template names something that doesn't exist; use ${{ params.NAME }} or ${{ node.NAME }}.",
  ),
  "executions.not-found": entry("not-found", "Check the execution's id with `signalbox executions list`."),
  "executions.task-not-found": entry("not-found", "Check the task's number with `signalbox tasks list EXECUTION`."),
  "executions.no-targets": entry(
    "invalid",
    "The targets match no node; check them with `signalbox nodes list --query …`.",
  ),
  "executions.unknown-target": entry(
    "invalid",
    "Some targets don't exist in this account; check them with `signalbox nodes list`.",
  ),
  "executions.needs-agent": entry(
    "invalid",
    "Give the resource a runner node (`signalbox resources apply`), or use http, operation and wait steps alone.",
  ),
  "executions.outside-scope": entry(
    "forbidden",
    "Choose targets within the nodes that this key is narrowed to, by a narrower query for instance.",
  ),
  "fleet.outside-scope": entry("forbidden", "A node may not be tagged out of the nodes that this key is narrowed to."),
  "executions.blast-radius": entry(
    "invalid",
    "The run would touch more nodes than allowed without asking; give `targetsMax` (--targets-max) if you mean it.",
  ),
  "executions.invalid-transition": entry(
    "conflict",
    "The execution's state doesn't allow this; see `signalbox executions get ID`.",
  ),
  "executions.invalid-strategy": entry(
    "invalid",
    "Correct the strategy's member that is named; docs/workflows.md describes each.",
  ),
  "executions.plan-changed": entry(
    "conflict",
    "Something else would run now than what was planned; look at a new plan with `signalbox run … --plan`.",
  ),
  "executions.not-approved": entry(
    "conflict",
    "Have the run approved: an association for `executions.create` holds such calls until members have signed.",
  ),
  "executions.not-finished": entry(
    "conflict",
    "The execution still runs; wait for its end, or abort it with `signalbox executions abort ID`.",
  ),
  "executions.rollback-running": entry(
    "conflict",
    "A rollback of this execution is under way; follow it with `signalbox executions watch ID`.",
  ),
  "executions.finished": entry("conflict", "The execution has ended; a finished execution never changes."),

  // Calendars: schedules, maintenance windows and change calendars
  "calendars.schedule-not-found": entry("not-found", "Check the schedule's name with `signalbox schedules list`."),
  "calendars.window-not-found": entry("not-found", "Check the window's name with `signalbox windows list`."),
  "calendars.invalid-timing": entry(
    "invalid",
    "Give exactly one of `cron` (five fields, with a zone), `at` and `every`; `signalbox schedules preview` shows what it means.",
  ),
  "calendars.call-refused": entry(
    "invalid",
    "A schedule calls an operation that changes something, with an input that the operation accepts and that holds no secret.",
  ),
  "calendars.author-refused": entry(
    "forbidden",
    "A schedule fires in the name of a user, a service account or an API key that is in force; apply it again as such.",
  ),
  "calendars.schedule-of-rule": entry(
    "conflict",
    "The schedule belongs to a rule: change `on` of the rule, or disable or remove the rule.",
  ),
  "calendars.schedule-paused": entry("conflict", "Resume the schedule with `signalbox schedules resume NAME` first."),
  "calendars.firing-pending": entry(
    "conflict",
    "The firing before has no outcome yet; see `signalbox schedules firings NAME` and try again.",
    true,
  ),
  "calendars.window-in-use": entry(
    "conflict",
    "What names this window would never start anything without it; change or end that first, or apply the window anew.",
  ),
  "calendars.too-many": entry(
    "limited",
    "Remove schedules, windows, calendars or feeds that are no longer needed; the limit is named.",
  ),
  "calendars.closed": entry(
    "conflict",
    "Wait until the calendar opens, ask its owners for a freeze template, or break the glass with a reason.",
  ),
  "calendars.calendar-not-found": entry(
    "not-found",
    "Check the change calendar's name with `signalbox calendars list`.",
  ),
  "calendars.version-not-found": entry(
    "not-found",
    "Only the last versions are kept; see `signalbox calendars versions NAME`.",
  ),
  "calendars.invalid-calendar": entry(
    "invalid",
    "Give exactly one of `document` (an iCalendar document), `url` and `urlSecret`; the message says what else is wrong.",
  ),
  "calendars.invalid-document": entry(
    "invalid",
    "The message names the line of the iCalendar document; docs/change-calendars.md lists what is understood.",
  ),
  "calendars.too-many-occurrences": entry(
    "limited",
    "Take old or very frequent events out of the calendar, or split it; the limit is named.",
  ),
  "calendars.not-subscribed": entry("conflict", "Only a calendar with a URL is fetched; apply this one anew instead."),
  "calendars.feed-not-found": entry("not-found", "Check the feed's id with `signalbox calendar-feeds list`."),
  "calendars.review-not-found": entry("not-found", "Check the review's id with `signalbox break-glass-reviews list`."),
  "calendars.review-closed": entry(
    "conflict",
    "The review is closed; `signalbox break-glass-reviews get ID` shows it.",
  ),
  "calendars.own-review": entry("forbidden", "Who skipped the calendars doesn't review it; ask somebody else."),

  // Notifications
  "notifications.channel-not-found": entry("not-found", "Check the channel's name with `signalbox channels list`."),
  "notifications.subscription-not-found": entry(
    "not-found",
    "Check the subscription's name with `signalbox subscriptions list`.",
  ),
  "notifications.delivery-not-found": entry(
    "not-found",
    "Check the delivery's id with `signalbox deliveries list`; deliveries are kept for 30 days.",
  ),
  "notifications.delivery-pending": entry(
    "conflict",
    "The delivery is still being tried; wait until it is delivered or dead.",
  ),
  "notifications.invalid-channel": entry(
    "invalid",
    "Correct the fields listed; docs/notifications.md says what each kind of channel needs.",
  ),
  "notifications.channel-in-use": entry(
    "conflict",
    "Remove or change the subscriptions that use the channel first; `signalbox subscriptions list` shows them.",
  ),
  "approvals.content-changed": entry(
    "conflict",
    "What would run, or was voted on, is not what the request says now: read the request again, or submit the call anew.",
  ),
  "approvals.refused": entry(
    "forbidden",
    "The call needs an approval that it did not get; the message names the request.",
  ),

  // Rules
  "rules.denied": entry(
    "forbidden",
    "A rule of this account refuses the call; the message has the rule and its reason.",
  ),
  "rules.condition-failed": entry(
    "forbidden",
    "The condition of a rule that gates this operation could not be evaluated, so the call is refused; correct the rule.",
  ),
  "rules.rewrite-refused": entry(
    "conflict",
    "Rules contradict one another, or what they made of the input is not valid; the message names the rules.",
  ),
  "rules.template-not-found": entry(
    "conflict",
    "A rule wants an approval template that this account doesn't have; make the template or correct the rule.",
  ),
  "rules.invalid-rule": entry(
    "invalid",
    "Correct the parts listed in `issues`; docs/rules.md has the fields, docs/expressions.md the expressions.",
  ),
  "rules.rule-not-found": entry("not-found", "Check the rule's name with `signalbox rules list`."),
  "rules.author-refused": entry(
    "forbidden",
    "A rule acts in its author's name: apply it as a user, a service account or a key that lasts.",
  ),
  "rules.event-not-found": entry(
    "not-found",
    "Check the event's id with `signalbox events list`; events are kept for a while only.",
  ),
  "rules.too-many": entry("conflict", "Remove rules that nobody needs; the limit is named in the message."),

  "notifications.too-many": entry("limited", "Remove channels or subscriptions that nobody needs."),

  // Services outside
  "gateway.service-not-found": entry("not-found", "Check the service's name with `signalbox services list`."),
  "gateway.invalid-service": entry("invalid", "Correct the fields listed; docs/gateway.md says what each of them is."),
  "gateway.invalid-document": entry(
    "invalid",
    "Correct the OpenAPI document at the places listed; each operation needs an operationId of its own.",
  ),
  "gateway.too-many": entry("limited", "Remove services that nobody calls."),
  "gateway.invalid-path": entry(
    "invalid",
    "Send the path without dot segments, empty segments, backslashes, and encoded slashes.",
  ),
  "gateway.role-required": entry("forbidden", "The service's settings let only some roles call this operation."),
  "gateway.unreachable": entry(
    "unavailable",
    "No base URL of the service could be reached, and nothing was sent; `signalbox services check` tells more.",
    true,
  ),
  "gateway.upstream-failed": entry(
    "failed-outside",
    "The service broke the connection off before it replied; whether it did what was asked is not known.",
  ),
  "gateway.upstream-timeout": entry(
    "late-outside",
    "The service did not reply in time; whether it did what was asked is not known.",
  ),
  "gateway.unanswered": entry(
    "failed-outside",
    "The service did not reply; its operation may be called again, and gets the same Idempotency-Key then.",
    true,
  ),
  "gateway.outcome-unknown": entry(
    "failed-outside",
    "The call was sent and nobody knows what came of it: ask the service, and call again under a new key if it was not done.",
  ),
  "gateway.service-refused": entry(
    "mismatch",
    "The service answered with a status of 400 to 499; its reply is in `details.reply`.",
  ),
  "gateway.service-failed": entry(
    "failed-outside",
    "The service answered with a status of 500 or more; its reply is in `details.reply`.",
  ),
  "gateway.service-unavailable": entry(
    "unavailable",
    "The service answered that it takes no calls now, or failed at one that may be repeated; its reply is in `details.reply`.",
    true,
  ),
  "gateway.reply-too-large": entry(
    "too-large",
    "A call by its name gives replies of 1 MiB at most; call the service at /x/<service>/ for longer ones.",
  ),
  "gateway.circuit-open": entry(
    "unavailable",
    "The service failed too often, or is not healthy; it is tried again by itself.",
    true,
  ),
  "gateway.overloaded": entry("unavailable", "Too many calls to the service are under way; try again shortly.", true),

  // Events, audit, why
  "audit.unknown-subject": entry("not-found", "Nothing with this id is on record in this account."),
  "events.position-expired": entry(
    "mismatch",
    "Events before this position are past their retention; start again without a position.",
  ),

  // Storage
  "storage.unavailable": entry(
    "unavailable",
    "The database can't be reached; check DATABASE_URL or the private database's log.",
    true,
  ),
  "storage.unsupported-version": entry("internal", "Signalbox needs PostgreSQL 15 or newer."),
  "storage.data-version-mismatch": entry(
    "internal",
    "The data directory was made by another major version of PostgreSQL; back up with that version and restore here.",
  ),
  "storage.data-directory-locked": entry(
    "conflict",
    "Another server uses this data directory; stop it or choose another with --data.",
  ),
  "storage.data-directory-unusable": entry(
    "internal",
    "The data directory can't be used; check its owner, its mode and the free space.",
  ),
  "storage.disk-full": entry(
    "unavailable",
    "The disk of the data directory is full; free some space and start again.",
    true,
  ),
  "storage.program-too-old": entry(
    "internal",
    "The database was migrated by a newer Signalbox; run that version or a newer one.",
  ),
  "storage.migration-changed": entry(
    "internal",
    "A migration that already ran has other content now; restore the original file.",
  ),
  "storage.platform-unsupported": entry(
    "internal",
    "No bundled PostgreSQL for this platform; install PostgreSQL 15 or newer and set DATABASE_URL.",
  ),
  "storage.backup-unreadable": entry("invalid", "The file is no Signalbox backup, or it is damaged; use another one."),
  "storage.target-not-empty": entry(
    "conflict",
    "The target database already holds Signalbox tables; give an empty one.",
  ),
  "storage.files-changed": entry("conflict", "Make the backup again; the master key was just being rotated.", true),
  "storage.file-differs": entry(
    "conflict",
    "The data directory belongs to another installation; restore into a new one, or move this file away.",
  ),
  "storage.servers-running": entry(
    "conflict",
    "Stop the servers that use the database and try again; one that was killed counts for some seconds more.",
    true,
  ),
  "storage.blob-not-found": entry("not-found", "The content is past its retention or was never stored."),
  "storage.blob-damaged": entry("internal", "The stored content doesn't match its digest; restore it from a backup."),
  "storage.blob-unavailable": entry(
    "unavailable",
    "The S3-compatible store doesn't answer as it should; check its address, its bucket and the keys.",
    true,
  ),
  "storage.blob-store-not-shared": entry(
    "conflict",
    "All servers of an installation need the same blob store: one directory that all of them mount, or one S3 bucket.",
    true,
  ),
  "storage.blob-quota": entry("limited", "The blob store is full; raise its quota or shorten the retention."),

  // Secrets
  "secrets.not-found": entry("not-found", "Check the secret's name with `signalbox secrets list`."),
  "secrets.too-many": entry("conflict", "Remove secrets that nothing uses; the limit is named in the message."),
  "secrets.reference-refused": entry(
    "forbidden",
    "References need the permission secrets.refer, and their kind in the server's setting secret-references.",
  ),
  "secrets.reference-unreadable": entry(
    "unavailable",
    "The server can't read the secret where its reference points; check it there, as the server's user.",
    true,
  ),
  "secrets.unreadable": entry(
    "internal",
    "The stored secret was altered or belongs to another master key; put it again, or restore the right key.",
  ),
  "secrets.master-key-missing": entry(
    "internal",
    "Put the installation's master key in its place again (DATA/master.key or the setting master-key-file).",
  ),
  "secrets.master-key-wrong": entry(
    "internal",
    "Give the master key under which the secrets were stored; every server of an installation has the same one.",
  ),

  "secrets.key-unknown": entry(
    "unavailable",
    "Another server has just begun a generation of keys; try again in a second.",
    true,
  ),
  "secrets.rotation-under-way": entry("conflict", "Wait until `signalbox master-key get` shows no rotation any more."),
  "secrets.next-key-missing": entry(
    "conflict",
    "Put the next master key beside the present one, as NAME.next, on the machine of each server.",
  ),
  "secrets.next-key-unusable": entry("conflict", "Put 32 new random bytes in base64 into the file of the next key."),

  // Artifacts
  "artifacts.not-found": entry("not-found", "Check the artifact with `signalbox artifacts list`."),
  "artifacts.too-many": entry("conflict", "Remove artifacts that nothing needs; the limit is named in the message."),
  "artifacts.wrong-offset": entry(
    "conflict",
    "Go on at the offset in `details.received`; `signalbox artifacts push` does so by itself.",
  ),
  "artifacts.incomplete": entry("conflict", "Send the rest first; `details.received` says where it begins."),
  "artifacts.digest-mismatch": entry(
    "mismatch",
    "The file changed while it was sent, or bytes were damaged; push it again.",
  ),

  // Approvals: what administrators make, and requests
  "approvals.template-not-found": entry("not-found", "Check the template's name with `signalbox templates list`."),
  "approvals.template-in-use": entry("conflict", "Remove or change the associations that the message names first."),
  "approvals.group-not-found": entry("not-found", "Check the group's name with `signalbox approval-groups list`."),
  "approvals.group-in-use": entry(
    "conflict",
    "Remove or change the templates and associations that the message names first.",
  ),
  "approvals.invalid-group": entry("invalid", "Correct the members listed in `issues`."),
  "approvals.association-not-found": entry(
    "not-found",
    "Check the association's name with `signalbox associations list`.",
  ),
  "approvals.invalid-association": entry("invalid", "Correct the fields listed in `issues`."),
  "approvals.association-tie": entry(
    "conflict",
    "Make one of the two associations more specific; the message names the other one.",
  ),
  "approvals.request-not-found": entry("not-found", "Check the request's id with `signalbox approvals list`."),
  "approvals.unreachable": entry(
    "invalid",
    "Nobody could ever satisfy the levels listed in `issues`: change the groups, the counts or the bans.",
  ),
  "approvals.request-ended": entry("conflict", "The request has its result, which never changes; submit a new one."),
  "approvals.request-unmatched": entry(
    "conflict",
    "Nobody can answer yet; an administrator gives it a template first.",
  ),
  "approvals.already-submitted": entry(
    "conflict",
    "This request is on record; read it instead of submitting it again.",
  ),
  "approvals.not-a-member": entry(
    "forbidden",
    "Only members who were pinned when the level opened, and their delegates, can answer.",
  ),
  "approvals.level-not-open": entry("conflict", "Your level comes later; you will be told when it is its turn."),
  "approvals.level-closed": entry("conflict", "Your level is over; the request shows which one is open now."),
  "approvals.member-removed": entry("forbidden", "The member has left the group since the level opened."),
  "approvals.self-approval": entry("forbidden", "Somebody else than who asked has to answer."),
  "approvals.same-team": entry("forbidden", "Somebody of another team than the requester's has to answer."),
  "approvals.abstention-refused": entry("conflict", "This level wants approval or denial from each member."),
  "approvals.already-voted": entry("conflict", "This vote stands already; send another choice to change it."),
  "approvals.member-has-voted": entry("conflict", "The member's own vote stands; only the member can change it."),
  "approvals.signature-required": entry(
    "forbidden",
    "This level counts signed votes only: `signalbox approvals keygen` once, then `signalbox approvals approve --sign-with FILE`.",
  ),
  "approvals.signature-refused": entry(
    "mismatch",
    "Sign again what you vote on, with a key of yours that `signalbox vote-keys list --mine` shows as active.",
  ),
  "approvals.vote-key-exists": entry(
    "conflict",
    "This key is registered already; `signalbox vote-keys list` shows it.",
  ),
  "approvals.vote-key-not-found": entry("not-found", "Check the key's id with `signalbox vote-keys list`."),
  "approvals.not-decided": entry("conflict", "Wait for the result: `signalbox approvals wait`."),
  "approvals.question-open": entry("conflict", "A question waits for the requester; ask when it is answered."),
  "approvals.no-question": entry("conflict", "No question waits for an answer."),
  "approvals.not-the-requester": entry("forbidden", "Only who asked for this approval can do that."),
  "approvals.limit-reached": entry("conflict", "This request can't take more; the limit is named in the message."),
  "approvals.already-matched": entry("conflict", "The request has its template; only unmatched ones are given one."),
  "approvals.link-used": entry("conflict", "Each link counts once; to change the answer, log in and answer again."),
  "approvals.link-expired": entry("forbidden", "Log in to answer, or wait for the next message with a new link."),
  "approvals.link-forwarded": entry(
    "forbidden",
    "A link answers for the person it was sent to; that person has to log in, or you answer by your own link.",
  ),
  "approvals.login-required": entry("forbidden", "This approval wants more than the link: log in and answer there."),
  "approvals.callback-refused": entry("invalid", "Name a notification channel of kind webhook with a signing secret."),
  "approvals.content-too-large": entry("too-large", "Submit less, or a digest of it; the limit is in the message."),
  "approvals.edit-conflict": entry(
    "conflict",
    "Somebody else has edited the request; read it again and make the edit from its present revision.",
  ),
  "approvals.held-operation": entry(
    "conflict",
    "What was approved of a held call is the call: cancel the request and make another call.",
  ),
  "approvals.delegate-refused": entry(
    "invalid",
    "Name a user, a service account or an API key that exists, can log in and is not the member.",
  ),
  "approvals.invalid-delegation": entry("invalid", "Give a time that ends after it begins and lies ahead."),
  "approvals.delegation-not-found": entry("not-found", "Check its id with `signalbox delegations list`."),
  "approvals.too-many": entry("conflict", "Remove what is not needed any more; the limit is named in the message."),
  "approvals.too-many-waiting": entry("limited", "Wait a little and ask again, or use a callback.", true),

  // The catalog: products, portfolios, and what was launched
  "catalog.product-not-found": entry("not-found", "Check the product's name with `signalbox catalog products`."),
  "catalog.invalid-product": entry("invalid", "Correct the fields listed in `issues`."),
  "catalog.product-in-use": entry(
    "conflict",
    "Take the product out of the portfolios, and end the instances, that the message names first.",
  ),
  "catalog.portfolio-not-found": entry("not-found", "Check the portfolio's name with `signalbox catalog portfolios`."),
  "catalog.invalid-portfolio": entry("invalid", "Correct the fields listed in `issues`."),
  "catalog.portfolio-in-use": entry("conflict", "Remove or change the portfolios that import it first."),
  "catalog.constraint-widens": entry(
    "invalid",
    "An import may only narrow: make what is listed in `issues` no wider than `signalbox catalog portfolio` shows.",
  ),
  "catalog.source-gone": entry(
    "conflict",
    "The portfolio that it imports was removed, or is shared no more: import another one, or ask who shared it.",
  ),
  "catalog.not-allowed": entry("forbidden", "Ask whoever keeps the portfolio to add you, your team or your role."),
  "catalog.constraint-violated": entry(
    "invalid",
    "Correct the values listed in `issues`; `signalbox catalog portfolio NAME` shows what is allowed.",
  ),
  "catalog.quota-exceeded": entry(
    "conflict",
    "End an instance that is not needed any more, or ask for a higher quota.",
  ),
  "catalog.instance-not-found": entry("not-found", "Check the instance's id with `signalbox catalog instances`."),
  "catalog.instance-busy": entry("conflict", "Something is being done to the instance; try again when it is over."),
  "catalog.instance-ended": entry("conflict", "Nothing of this instance is left; launch another one."),
  "catalog.not-the-owner": entry("forbidden", "Only who launched it, and operators, can do that."),
  "catalog.order-not-found": entry(
    "not-found",
    "Check its id with `signalbox provisioning-orders list`; only orders for products of the caller are there.",
  ),
  "catalog.lease-lost": entry(
    "conflict",
    "Somebody else has claimed the order since, or it is over: stop working on it and claim another one.",
  ),
  "catalog.invalid-outputs": entry("invalid", "Report the outputs that the product declares, secret ones apart."),
  "catalog.too-many": entry("conflict", "Remove what is not needed any more; the limit is named in the message."),
  "catalog.too-many-waiting": entry("limited", "Wait a little and ask again.", true),

  // Triggers: signals, hooks, and what is fired by name
  "triggers.signal-not-found": entry("not-found", "Check the signal's name with `signalbox signals list`."),
  "triggers.invalid-signal": entry("invalid", "Correct the fields listed in `issues`; docs/triggers.md has examples."),
  "triggers.silence-not-found": entry("not-found", "Check the silence's name with `signalbox silences list`."),
  "triggers.invalid-silence": entry("invalid", "Give a time that ends after it begins and lies ahead."),
  "triggers.hook-not-found": entry("not-found", "Check the hook's name with `signalbox hooks list`."),
  "triggers.invalid-hook": entry("invalid", "Correct the fields listed in `issues`."),
  "triggers.hook-busy": entry("limited", "The hook takes so many messages a minute; send this one again later.", true),
  "triggers.message-refused": entry(
    "unauthenticated",
    "Check the hook's secret on both sides, and the sender's clock; `signalbox hooks rotate` makes another secret.",
  ),
  "triggers.invalid-message": entry(
    "invalid",
    "Send a JSON object or array, or a form, within the limits of the message.",
  ),
  "triggers.trigger-not-found": entry("not-found", "Check the trigger's name with `signalbox triggers list`."),
  "triggers.invalid-schema": entry("invalid", "Correct the JSON Schema as the message says."),
  "triggers.data-refused": entry(
    "invalid",
    "Make the data fit the trigger's schema; `signalbox triggers get` shows it.",
  ),
  "triggers.too-many": entry("conflict", "Remove what is not needed any more; the limit is named in the message."),
  // What rules set going
  "actions.not-found": entry(
    "not-found",
    "Check the run's id with `signalbox actions list`; runs are kept for 30 days after their end.",
  ),
  "actions.wrong-state": entry(
    "conflict",
    "`signalbox actions get` shows the run's state: only some of them allow this.",
  ),
  "actions.queue-full": entry(
    "limited",
    "Too many runs wait; see what holds them up with `signalbox actions list --state failed`, or give the rule a limit.",
    true,
  ),
  "actions.author-refused": entry(
    "forbidden",
    "The rule's author was disabled, revoked or has expired: put the rule again as somebody who may do what it does.",
  ),
  "actions.rule-removed": entry("conflict", "The rule was removed or disabled after it fired; nothing has to be done."),
  "actions.loop-stopped": entry(
    "conflict",
    "Rules set each other going: `signalbox why` with the run's id shows the chain; narrow a condition of one of them.",
  ),
  "actions.cancelled": entry(
    "conflict",
    "Somebody cancelled the run before its call was made; nothing has to be done.",
  ),
  "actions.not-approved": entry(
    "conflict",
    "The call that waited for an approval was denied, cancelled or has expired.",
  ),

  // Calls to the outside
  "egress.invalid-url": entry("invalid", "Give an http: or https: URL with a host and without user and password."),
  "egress.invalid-request": entry("invalid", "Correct the method, the header or the body that the message names."),
  "egress.refused-address": entry(
    "forbidden",
    "The server doesn't call this address; an administrator allows it with the settings egress-allow or egress-private.",
  ),
  "egress.unreachable": entry("unavailable", "Check the URL, the name service and the network of the server.", true),
  "egress.timeout": entry("unavailable", "The other side took too long; try again or allow more time.", true),
  "egress.response-too-large": entry("too-large", "Ask the other side for less, or allow more bytes."),

  // Command line and settings
  "cli.usage": entry("invalid", "See `signalbox help COMMAND`."),
  "cli.not-logged-in": entry(
    "unauthenticated",
    "Run `signalbox login --local` beside the server, `signalbox login --server URL --key KEY`, or give --server and --key.",
  ),
  "cli.no-server": entry(
    "unavailable",
    "No server answers there; start one with `signalbox serve` or give --server.",
    true,
  ),
  "cli.certificate-untrusted": entry(
    "forbidden",
    "The server's certificate isn't the pinned one; log in again with its CA fingerprint if this is expected.",
  ),
  "cli.timeout": entry("unavailable", "Wait longer, or look at it with `signalbox executions get ID`."),
  "cli.invalid-documents": entry(
    "invalid",
    "Correct the lines listed; `signalbox workflows validate -f FILE` checks more.",
  ),
  "cli.invalid-inventory": entry(
    "invalid",
    "Correct the places listed; `ansible-inventory -i FILE --list` shows how Ansible reads the same file.",
  ),
  "cli.runtime-missing": entry(
    "unavailable",
    "Install Node.js 24 or newer on the machines of that architecture, or run the command on a machine of it.",
  ),
  "cli.file-unreadable": entry("invalid", "Check the file's path and mode."),
  "demo.part-failed": entry(
    "internal",
    "A part of the demo could not be started on this machine; the message has the reason, `signalbox serve` shows more.",
  ),
  "settings.invalid": entry("invalid", "Correct the setting; `signalbox serve --help` lists all of them."),
  "settings.plaintext-refused": entry("invalid", "Plain HTTP is served on loopback only; use TLS or add --insecure."),

  // Agent
  "agent.not-enrolled": entry(
    "invalid",
    "Enrol this machine first: `signalbox agent enroll --server URL --key KEY --ca-fingerprint …`.",
  ),
  "agent.already-enrolled": entry(
    "conflict",
    "This agent directory is enrolled already; use another --data or remove it.",
  ),
  "agent.already-running": entry("conflict", "Another agent runs on this agent directory; stop it first."),
  "agent.state-damaged": entry("internal", "The agent's state can't be read; enrol the machine again."),
  "agent.policy-damaged": entry(
    "invalid",
    "Correct the file and check it with `signalbox agent policy check FILE`; until then the agent refuses every order.",
  ),
  "agent.path-refused": entry(
    "invalid",
    "Paths are relative to the agent's root and may not lead out of it, by `..` or by a symbolic link.",
  ),
  "agent.user-refused": entry(
    "invalid",
    "Name a user that exists on the node; only an agent run by root can change to it.",
  ),
  "agent.secret-refused": entry(
    "invalid",
    "Give secrets of fewer lines, or put such a file on the node by an artifact.",
  ),
  "agent.step-refused": entry(
    "invalid",
    "The message has what this step needs on the node; install it, or correct the step in the workflow.",
  ),
  "agent.approval-unavailable": entry(
    "unavailable",
    "The node's policy wants signed approvals and the server showed it none for this run; the message says why.",
    true,
  ),
  "agent.artifact-failed": entry(
    "unavailable",
    "The node could not get a file from its server; the step can be tried again and goes on where it ended.",
    true,
  ),
  "agent.save-refused": entry(
    "invalid",
    "These files can't be put back exactly by this agent; see the message, or run it as root for other owners' files.",
  ),
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof errorCatalogue
