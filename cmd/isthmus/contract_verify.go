package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/agreement"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// maxContract bounds a file with a contract.
const maxContract = 8 << 20

func newContractVerify(w *world) *cobra.Command {
	var (
		out    output
		ca     string
		tenant string
		file   string
	)
	c := &cobra.Command{
		Use: "verify TENANT/NAME | --file FILE --ca CA", Short: "Check that both tenants have signed what is said to be agreed",
		Long: `Check that the deployment's authority has signed, for both tenants, the text that is said to be agreed. With --file no server is asked: the file is what isthmus contract show
-o json printed, and --ca the deployment's ca.pem, which isthmus audit verify uses too.`,
		Example: "  isthmus contract verify ot/telemetry\n  isthmus contract verify --file telemetry.json --ca ca.pem",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	f := c.Flags()
	f.StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	f.StringVar(&file, "file", "", "check this `FILE` and ask no server; - is standard input")
	f.StringVar(&ca, "ca", "", "PEM `FILE` with the authority that signs; the server's own when absent")
	c.ValidArgsFunction = completeContracts(n, "")
	c.Args = func(c *cobra.Command, args []string) error {
		if file != "" {
			if ca == "" {
				return usagef("--ca is missing").advise("give the deployment's ca.pem: isthmus contract verify --file %s --ca ca.pem", file)
			}
			return cobra.NoArgs(c, args)
		}
		return cobra.ExactArgs(1)(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		var roots []byte
		var err error
		if ca != "" {
			if roots, err = readBounded(ca, maxKept); err != nil {
				return fault.Wrap("isthmus.verify", fault.Invalid, err, "the authority's certificate cannot be read: "+err.Error())
			}
		}
		if file != "" {
			a, err := readAgreement(w, file)
			if err != nil {
				return err
			}
			return w.verifyAgreement(out, roots, a)
		}
		return n.asking(func(c *cobra.Command, s *session, args []string) error {
			k, err := getContract(c.Context(), s, args[0], tenant)
			if err != nil {
				return err
			}
			if k.Status.Agreed == nil {
				_, _, _, err := holding(k)
				return err
			}
			if roots == nil {
				if roots = s.Authority(); roots == nil {
					return fault.New("isthmus.verify", fault.Invalid, "the server's certificate is not of the deployment's authority, so there is nothing to check signatures with").
						Advise("give the deployment's ca.pem with --ca")
				}
			}
			return w.verifyAgreement(out, roots, k.Status.Agreed)
		})(c, args)
	}
	return c
}

func readAgreement(w *world, file string) (*resource.AgreedContract, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(w.in, maxContract+1))
		if err == nil && len(b) > maxContract {
			err = errors.New("it is too large")
		}
	} else {
		b, err = readBounded(file, maxContract)
	}
	if err != nil {
		kind := fault.Invalid
		if errors.Is(err, fs.ErrNotExist) {
			kind = fault.NotFound
		}
		return nil, fault.Wrap("isthmus.verify", kind, err, "the contract cannot be read: "+err.Error())
	}
	return agreement.Parse(b)
}

func (w *world) verifyAgreement(out output, roots []byte, a *resource.AgreedContract) error {
	terms, err := agreement.Verify(roots, a)
	if err != nil {
		return err
	}
	if out.structured() {
		return out.write(w, struct {
			Signed      bool                         `json:"signed"`
			Contract    string                       `json:"contract"`
			Version     int64                        `json:"version"`
			Digest      string                       `json:"digest"`
			TrustDomain string                       `json:"trustDomain"`
			Signatures  []resource.ContractSignature `json:"signatures"`
			Text        json.RawMessage              `json:"text"`
		}{true, terms.Contract.Path(), a.Version, a.Digest, terms.TrustDomain, a.Signatures, json.RawMessage(a.Text)})
	}
	w.printf("%s\n\n", w.painter()(bold, fmt.Sprintf("Contract %s, version %d", terms.Contract.Path(), a.Version)))
	w.lines(contractLines(terms.Contract.Tenant, terms.Spec))
	w.printf("\n")
	var rows [][]cell
	for _, s := range a.Signatures {
		rows = append(rows, cells("for "+s.Tenant, "by "+s.By, s.At.UTC().Format("2006-01-02 15:04:05 UTC")))
	}
	w.table(make([]string, 3), rows)
	w.printf("%s: the authority of %s has signed this text for %s\n", w.painter()(green, "the signatures are good"), harmless(terms.TrustDomain), sidesOf(terms))
	return nil
}

func sidesOf(t agreement.Terms) string {
	if t.Spec.With == t.Contract.Tenant {
		return t.Contract.Tenant
	}
	return "both, " + t.Contract.Tenant + " and " + t.Spec.With
}
