// Package builtin has the modules that the host serves itself, because they concern no
// file of an account and so need no process of its own. A module that reads or writes
// anything of an account is a plugin and does not belong here.
package builtin
