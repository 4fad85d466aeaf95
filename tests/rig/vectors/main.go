// Command vectors says what the Go implementations of in-toto and Sigstore think of texts on stdin, one a line.
// Tests compare their verdicts with ours. It answers one line of JSON for each line.
//
//	vectors statements          whether each is a valid in-toto statement
//	vectors provenances         whether each is a valid SLSA provenance v1
//	vectors bundles ROOT        whether each bundle verifies with this trusted root, and what its certificate says
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/in-toto/attestation/go/predicates/provenance/v1"
	statement "github.com/in-toto/attestation/go/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	// Its test data is read by tests; it has to stay pinned.
	_ "github.com/secure-systems-lab/go-securesystemslib/dsse"
)

type verdict struct {
	Error       string               `json:"error,omitempty"`
	Times       []time.Time          `json:"times,omitempty"`
	Certificate *certificate.Summary `json:"certificate,omitempty"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vectors:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	judge, err := judgeOf(arguments)
	if err != nil {
		return err
	}
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := answers.Encode(judge(line)); err != nil {
			return err
		}
	}
}

func judgeOf(arguments []string) (func([]byte) verdict, error) {
	switch {
	case len(arguments) == 1 && arguments[0] == "statements":
		return func(text []byte) verdict {
			it := &statement.Statement{}
			return of(errors.Join(protojson.Unmarshal(text, it), it.Validate()))
		}, nil
	case len(arguments) == 1 && arguments[0] == "provenances":
		return func(text []byte) verdict {
			it := &v1.Provenance{}
			return of(errors.Join(protojson.Unmarshal(text, it), it.Validate()))
		}, nil
	case len(arguments) == 2 && arguments[0] == "bundles":
		return bundles(arguments[1])
	}
	return nil, errors.New("which texts? statements, provenances, or bundles with a trusted root")
}

func of(err error) verdict {
	if err == nil {
		return verdict{}
	}
	return verdict{Error: err.Error()}
}

// What the root has, a bundle must have: an entry of its log, a certificate in its log of certificates.
func bundles(path string) (func([]byte) verdict, error) {
	trusted, err := root.NewTrustedRootFromPath(path)
	if err != nil {
		return nil, err
	}
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
	if len(trusted.RekorLogs()) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	if len(trusted.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	verifier, err := verify.NewVerifier(trusted, options...)
	if err != nil {
		return nil, err
	}
	policy := verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithoutIdentitiesUnsafe())
	return func(text []byte) verdict {
		it := &bundle.Bundle{}
		if err := it.UnmarshalJSON(text); err != nil {
			return of(err)
		}
		result, err := verifier.Verify(it, policy)
		if err != nil {
			return of(err)
		}
		answer := verdict{}
		for _, timestamp := range result.VerifiedTimestamps {
			answer.Times = append(answer.Times, timestamp.Timestamp)
		}
		if result.Signature != nil {
			answer.Certificate = result.Signature.Certificate
		}
		return answer
	}, nil
}
