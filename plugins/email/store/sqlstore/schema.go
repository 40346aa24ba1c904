package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/liveapid/liveapid/plugins/email/store"
)

// needed lists the columns that this package reads and writes, by table.
var needed = []struct {
	table, columns string
	optional       bool
}{
	{"mailbox", "username, password, name, maildir, quota, local_part, domain, modified, active", false},
	{"domain", "domain, description, active", false},
	{"alias", "address, domain, active", false},
	{"liveapid_suspension", "username, incoming, outgoing, hold", false},
	{"quota2", "username, bytes, messages", true},
	{"mailbox", "password_expiry", true},
	{"domain", "password_expiry", true},
}

// Check compares the database's schema with the columns that this package needs. lacks lists the tables in
// which required columns are missing, and without lists the tables in which optional columns are missing.
// Each item contains the table's name and the columns that were checked.
func (s *Store) Check(ctx context.Context) (lacks, without []string, err error) {
	for _, n := range needed {
		rows, err := s.db.QueryContext(ctx, "SELECT "+n.columns+" FROM "+n.table+" WHERE 1 = 0")
		if err == nil {
			err = errors.Join(rows.Err(), rows.Close())
		}
		switch {
		case err == nil:
		case !s.d.missing(err):
			return nil, nil, s.classify("look at the schema", err)
		case n.optional:
			without = append(without, n.table+" ("+n.columns+")")
		default:
			lacks = append(lacks, n.table+" ("+n.columns+")")
		}
	}
	return lacks, without, nil
}

// Init creates the missing tables and returns their names. It does not change existing tables, and returns an
// error if they lack required columns.
func (s *Store) Init(ctx context.Context) (made []string, err error) {
	for _, statement := range s.d.schema {
		words := strings.Fields(strings.ReplaceAll(statement, "(", " "))
		kind, name := words[1], words[2]
		if kind == "INDEX" {
			// An index is created only if this call of Init has created the table of the index immediately
			// before.
			if len(made) == 0 || made[len(made)-1] != words[4] {
				continue
			}
		} else {
			there, err := s.hasTable(ctx, name)
			if err != nil {
				return made, err
			}
			if there {
				continue
			}
			made = append(made, name)
		}
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return made, s.classify("create "+name, err)
		}
	}
	lacks, _, err := s.Check(ctx)
	if err == nil && len(lacks) > 0 {
		err = fmt.Errorf("%w: existing tables lack %s", store.ErrUnsafe, strings.Join(lacks, ", "))
	}
	return made, err
}

func (s *Store) hasTable(ctx context.Context, name string) (bool, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT 1 FROM "+name+" WHERE 1 = 0")
	if s.d.missing(err) {
		return false, nil
	}
	if err != nil {
		return false, s.classify("look for "+name, err)
	}
	return true, errors.Join(rows.Err(), rows.Close())
}
