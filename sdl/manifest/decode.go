package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/moorage-dev/moorage/market"
)

// DecodeError says why JSON is no manifest. It wraps [market.ErrInvalid].
type DecodeError struct {
	// Offset is the byte where reading stopped, 0 when unknown.
	Offset int64
	// Path is where in the document, for example "[0].services[1].resources.id";
	// "" when unknown.
	Path string
	// Reason never quotes a value: a manifest holds secrets.
	Reason string
}

// Error implements error.
func (e *DecodeError) Error() string {
	where := e.Path
	if where == "" {
		where = "offset " + strconv.FormatInt(e.Offset, 10)
	}
	return fmt.Sprintf("manifest: decoding: %s: %s", where, e.Reason)
}

// Unwrap makes [errors.Is] match [market.ErrInvalid].
func (e *DecodeError) Unwrap() error { return market.ErrInvalid }

// UnmarshalJSON reads the canonical form or any equal JSON. Unknown keys are
// refused: they would be lost from the hash. nil and empty lists are kept
// apart. At most [MaxDecodedBytes] are read. The error is a [*DecodeError] or
// wraps [market.ErrLimit]. m is changed only on success.
func (m *Manifest) UnmarshalJSON(b []byte) error {
	if len(b) > MaxDecodedBytes {
		return tooLarge(len(b), MaxDecodedBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var groups []wireGroup
	if err := dec.Decode(&groups); err != nil {
		return decodeError(err, dec.InputOffset())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &DecodeError{Offset: dec.InputOffset(), Reason: "text after the manifest"}
	}
	out, err := fromWire(groups)
	if err != nil {
		return err
	}
	*m = out
	return nil
}

// Read decodes a manifest from r, reading at most [MaxDecodedBytes]. The error
// is that of r, a [*DecodeError], or wraps [market.ErrLimit].
func Read(r io.Reader) (Manifest, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxDecodedBytes+1))
	if err != nil {
		return nil, fmt.Errorf("manifest: reading: %w", err)
	}
	var m Manifest
	err = m.UnmarshalJSON(b)
	return m, err
}

// decodeError strips the values from an error of encoding/json.
func decodeError(err error, offset int64) error {
	var (
		syntax *json.SyntaxError
		typ    *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &syntax):
		return &DecodeError{Offset: syntax.Offset, Reason: "not JSON"}
	case errors.As(err, &typ):
		return &DecodeError{Offset: typ.Offset, Path: typ.Field, Reason: "want " + typ.Type.String()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &DecodeError{Offset: offset, Reason: "ends too early"}
	}
	return &DecodeError{Offset: offset, Reason: "unknown key or malformed value"}
}
