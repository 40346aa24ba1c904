// Package attack attacks a host in server mode as other users of the machine and as strangers on its network.
// Each test is named after the rule in docs/security.md that it proves. make attack runs them at full size.
package attack
