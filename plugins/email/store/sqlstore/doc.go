// Package sqlstore is the store in a PostgreSQL or MariaDB database with the schema of PostfixAdmin, which
// Dovecot and Postfix read. It uses the tables mailbox, domain, alias and quota2, and its own table
// liveapid_suspension. Values are always passed as parameters, and changes run in transactions. The package
// does not access mail, which is on the mail server.
package sqlstore
