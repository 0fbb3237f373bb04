/** The agent's systemd unit, as `nodes install` writes it and examples/signalbox-agent.service shows it. */
export function agentUnit(command: string): string {
  return `[Unit]
Description=Signalbox agent
Documentation=https://github.com/signalbox/signalbox
Wants=network-online.target
After=network-online.target
# The agent is never given up, however often it ends.
StartLimitIntervalSec=0

[Service]
ExecStart=${command}
# Buffers of a step's output go back to the machine when they are freed; steps don't inherit this.
Environment=MALLOC_MMAP_THRESHOLD_=32768
Restart=always
RestartSec=2
# Only the agent itself is stopped: what its steps started (a restarted service, say) goes on.
KillMode=process
TimeoutStopSec=30
# Its steps change this machine and inherit what stands here, so it takes away only what no step should need.
LockPersonality=yes
RestrictRealtime=yes
KeyringMode=private
LimitCORE=0

[Install]
WantedBy=multi-user.target
`
}
