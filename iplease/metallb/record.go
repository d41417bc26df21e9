package metallb

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/moorage-dev/moorage/iplease/driver"
)

// maxRecord bounds the text of an announcement on its anchor: all annotations of
// an object may have 256 KiB. Unpacked it may have maxUnpacked.
const (
	maxRecord   = 200 << 10
	maxUnpacked = 32 << 20
)

// encode makes the text that an anchor carries: the announcement as JSON, packed
// because a thousand ports repeat one another. Backends are left out: pods are
// found by label.
func encode(a driver.Announcement) (string, error) {
	a.Backends = nil
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if err := json.NewEncoder(w).Encode(a); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	text := base64.StdEncoding.EncodeToString(buf.Bytes())
	if len(text) > maxRecord {
		return "", fmt.Errorf("%w: claim %s: its ports and sources take %d bytes, at most %d fit", driver.ErrInvalid, a.Claim, len(text), maxRecord)
	}
	return text, nil
}

func decode(text string) (a driver.Announcement, err error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return a, err
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return a, err
	}
	if b, err = io.ReadAll(io.LimitReader(r, maxUnpacked)); err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, err
	}
	return a, a.Validate()
}
