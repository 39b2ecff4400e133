package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// How often collections are looked for that were made meanwhile.
const look = 20 * time.Millisecond

// The server compares ids as `_ferretdb_sjson->'$._id'`, but has its unique index on `_ferretdb_sjson->"_id"`. SQLite takes these for two
// things, and reads all documents for each one that is wanted by its id. Here the index is made anew, on what is compared.
const (
	wrong = `SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%(_ferretdb_sjson->"_id")'`
	right = `BEGIN IMMEDIATE; DROP INDEX "%[1]s"; CREATE UNIQUE INDEX "%[1]s" ON "%[2]s" (_ferretdb_sjson->'$._id'); COMMIT`
)

// A database file, and the version of its schema when it was last looked at.
type file struct {
	info    os.FileInfo
	db      *sql.DB
	version int64
}

// indexIDs gives the collections of all databases in a folder an index that serves their ids, for as long as the process runs.
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
		// The pattern has a folder that we made, and no special character.
		paths, _ := filepath.Glob(filepath.Join(folder, "*.sqlite"))
		for _, path := range paths {
			if files[path] == nil {
				info, err := os.Stat(path)
				if err != nil {
					continue
				}
				db, err := sql.Open("sqlite", "file:"+path+"?mode=rw&_pragma=busy_timeout(10000)")
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
	rows, err := f.db.Query(wrong)
	if err != nil {
		return err
	}
	var anew []string
	for rows.Next() {
		var name, table string
		if err := rows.Scan(&name, &table); err == nil {
			anew = append(anew, fmt.Sprintf(right, name, table))
		}
	}
	if err := rows.Close(); err != nil {
		return err
	}
	for _, statements := range anew {
		if _, err := f.db.Exec(statements); err != nil {
			_, _ = f.db.Exec("ROLLBACK")
			return err
		}
	}
	f.version = version
	if len(anew) > 0 {
		f.version = -1
	}
	return nil
}
