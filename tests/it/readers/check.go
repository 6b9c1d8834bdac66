// Reads every entry of an archive, whose CRC is checked, and every JSON file as strictly as Go's decoder does.
package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

func main() {
	archive, err := zip.OpenReader(os.Args[1])
	stop(err)
	for _, file := range archive.File {
		entry, err := file.Open()
		stop(err)
		contents, err := io.ReadAll(entry)
		stop(err)
		if len(file.Extra) != 0 {
			stop(fmt.Errorf("%s has an extra field", file.Name))
		}
		if strings.HasPrefix(file.Name, "json/") {
			var rows []map[string]json.RawMessage
			stop(json.Unmarshal(contents, &rows))
			// Go puts this character where half a character stood.
			var texts any
			decoder := json.NewDecoder(bytes.NewReader(contents))
			decoder.UseNumber()
			stop(decoder.Decode(&texts))
			again, err := json.Marshal(texts)
			stop(err)
			if !utf8.Valid(again) || bytes.Count(again, []byte("\ufffd")) != bytes.Count(contents, []byte("\ufffd")) {
				stop(fmt.Errorf("%s holds half a character", file.Name))
			}
		}
	}
	fmt.Println(len(archive.File), "entries")
}

func stop(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
