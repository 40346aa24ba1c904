// Package attack attacks a host in server mode as other users of the machine, and as strangers on its
// network, do. Each test is named after the rule of docs/security.md that it proves; make attack runs
// them at full size.
package attack
