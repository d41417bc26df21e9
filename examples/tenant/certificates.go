package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/examples/internal/stack"
	"github.com/moorage-dev/moorage/market"
)

func (p *program) certificatesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "certificates", Aliases: []string{"cert"}, Short: "List, renew and revoke the certificates by which providers know the tenant",
		Long: `A tenant's certificate is made and published the first time it is needed. It is
kept beside the keys and renewed before it ends.`,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the tenant's certificates on the chain", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return p.with(cmd.Context(), p.listCertificates) },
		},
		&cobra.Command{
			Use: "create", Short: "Make and publish a new certificate; the old one stays good until it is revoked", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return p.with(cmd.Context(), p.renewCertificate) },
		},
		&cobra.Command{
			Use: "revoke SERIAL", Short: "Revoke a certificate: no provider takes it any more", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return p.with(cmd.Context(), func(ctx context.Context, s *session) error {
					id := market.CertificateID{Owner: s.market.Address(), Serial: args[0]}
					receipt, err := s.market.Submit(ctx, market.RevokeCertificate{ID: id})
					if err != nil {
						return err
					}
					return p.print(receipt, fmt.Sprintf("revoked %s\tat height %d", args[0], receipt.Height))
				})
			},
		})
	return cmd
}

func (p *program) listCertificates(ctx context.Context, s *session) error {
	list, err := collect(func(page market.Page) ([]market.Certificate, string, error) {
		return s.market.Certificates(ctx, market.CertificateFilter{Owner: s.market.Address()}, page)
	})
	if err != nil {
		return err
	}
	rows := []string{"SERIAL\tSTATE\tFROM\tUNTIL"}
	for _, c := range list {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s", c.ID.Serial, c.State,
			c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly)))
	}
	return p.print(list, rows...)
}

// renewCertificate puts the files of the certificate aside and has new ones made.
func (p *program) renewCertificate(ctx context.Context, s *session) error {
	for _, file := range stack.CertificateFiles(p.home, s.market.Address()) {
		if err := os.Rename(file, file+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	cert, err := stack.Certificate(ctx, s.market, p.home, nil)
	if err != nil {
		return err
	}
	serial := cert.Leaf.SerialNumber.String()
	return p.print(map[string]any{"serial": serial, "not_after": cert.Leaf.NotAfter},
		fmt.Sprintf("published %s\tgood until %s", serial, cert.Leaf.NotAfter.UTC().Format(time.DateOnly)))
}
