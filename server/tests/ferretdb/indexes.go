package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// How often tables are looked for that have no index yet.
const look = 20 * time.Millisecond

// The server compares ids as `_ferretdb_sjson->'$._id'`, but has its index on `_ferretdb_sjson->"_id"`: SQLite takes these for two
// things, and reads all documents for each one that is wanted by its id. This gives every collection the index that it asks for.
const (
	tables = `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\_%' ESCAPE '\' AND name NOT LIKE 'sqlite%'`
	create = `CREATE INDEX IF NOT EXISTS "%s_by_id" ON "%s" (_ferretdb_sjson->'$._id')`
)

// A database file, and the version of its schema when it was last looked at.
type file struct {
	info    os.FileInfo
	db      *sql.DB
	version int64
}

// indexIDs gives the collections of all databases in a folder an index on their ids, for as long as the process runs.
func indexIDs(folder string) {
	files := map[string]*file{}
	for ; ; time.Sleep(look) {
		for path, known := range files {
			// A database that was dropped, or made anew.
			if info, err := os.Stat(path); err != nil || !os.SameFile(info, known.info) {
				_ = known.db.Close()
				delete(files, path)
			}
		}
		// A pattern of a constant and a folder that we made cannot be wrong.
		paths, _ := filepath.Glob(filepath.Join(folder, "*.sqlite"))
		for _, path := range paths {
			if files[path] == nil {
				info, err := os.Stat(path)
				if err != nil {
					continue
				}
				db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					continue
				}
				db.SetMaxOpenConns(1)
				files[path] = &file{info: info, db: db, version: -1}
			}
			// A database that is made or dropped right now is looked at again.
			_ = files[path].index()
		}
	}
}

func (f *file) index() error {
	var version int64
	if err := f.db.QueryRow("PRAGMA schema_version").Scan(&version); err != nil || version == f.version {
		return err
	}
	rows, err := f.db.Query(tables)
	if err != nil {
		return err
	}
	var names []string
	for rows.Next() {
		var name string
		if err = rows.Scan(&name); err == nil {
			names = append(names, name)
		}
	}
	if err = rows.Close(); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := f.db.Exec(fmt.Sprintf(create, name, name)); err != nil {
			return err
		}
	}
	return f.db.QueryRow("PRAGMA schema_version").Scan(&f.version)
}
