// Package attack contains tests that attack a host in server mode, both as other users of the machine and as
// clients on the network without an account. Each test is named after the rule in docs/security.md that the
// test verifies. The command "make attack" runs the tests at full size (ATTACK_FULL=1).
package attack
