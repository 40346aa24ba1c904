// Package builtin contains the modules that the host serves itself. They access no files of an account and
// therefore need no process of their own. A module that reads or writes files of an account must be a plugin.
package builtin
