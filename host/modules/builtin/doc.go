// Package builtin holds the modules that the host serves itself, because they touch no file of an account and
// need no process of their own. A module that reads or writes files of an account is a plugin and does not
// belong here.
package builtin
