// A MongoDB-protocol server for the tests: FerretDB on SQLite, in one process, for one run of a test.
//
// It ends when its standard input does, so that it never outlives the test process that started it, however that ends; then it removes
// its folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	folder := flag.String("folder", "", "folder of the data; must exist, is removed at the end")
	listen := flag.String("listen", "127.0.0.1:27017", "address to listen on")
	flag.Parse()
	if *folder == "" {
		fmt.Fprintln(os.Stderr, "-folder is missing")
		os.Exit(2)
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: *listen},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:   "sqlite",
		SQLiteURL: "file:" + *folder + "/",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = os.RemoveAll(*folder)
		os.Exit(0)
	}()
	go indexIDs(*folder)
	if err := server.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
