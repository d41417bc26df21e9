// Router is the HTTP front of a test cluster: it serves Ingress objects of the
// class moorage-test and HTTPRoutes whose Gateways are of that class, on ports
// 80 and 443. It implements what the project's driver writes and no more.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// className is the name of the IngressClass and of the GatewayClass.
const className = "moorage-test"

func main() {
	address := flag.String("address", "", "address of the router that objects' status shows")
	gateways := flag.Bool("gateways", true, "serve Gateway API objects")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *address, *gateways); err != nil {
		slog.Error("router", "err", err)
		os.Exit(1)
	}
}

// router is the informers' caches and the table made of them.
type router struct {
	address string
	client  kubernetes.Interface
	dynamic dynamic.Interface
	typed   informers.SharedInformerFactory
	untyped dynamicinformer.DynamicSharedInformerFactory
	lists   map[schema.GroupVersionResource]cache.GenericLister
	changed chan struct{}
	table   atomic.Pointer[table]
}

func run(ctx context.Context, address string, gateways bool) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	r := &router{address: address, changed: make(chan struct{}, 1), lists: map[schema.GroupVersionResource]cache.GenericLister{}}
	if r.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if r.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	r.table.Store(&table{})
	r.watch(gateways)
	r.typed.Start(ctx.Done())
	r.untyped.Start(ctx.Done())
	r.typed.WaitForCacheSync(ctx.Done())
	r.untyped.WaitForCacheSync(ctx.Done())

	plain := &http.Server{Addr: ":80", Handler: r.handler(false), ReadHeaderTimeout: time.Minute}
	secure := &http.Server{Addr: ":443", Handler: r.handler(true), ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return r.table.Load().certificate(hello.ServerName)
		},
	}}
	failed := make(chan error, 2)
	go func() { failed <- plain.ListenAndServe() }()
	go func() { failed <- secure.ListenAndServeTLS("", "") }()
	defer func() { _ = errors.Join(plain.Close(), secure.Close()) }()
	for {
		r.rebuild(ctx)
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-r.changed:
		}
	}
}

// watch sets up the caches; any change asks for a new table.
func (r *router) watch(gateways bool) {
	const resync = 0
	r.typed = informers.NewSharedInformerFactory(r.client, resync)
	r.untyped = dynamicinformer.NewDynamicSharedInformerFactory(r.dynamic, resync)
	note := func(any) {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: note, UpdateFunc: func(_, o any) { note(o) }, DeleteFunc: note}
	for _, i := range []cache.SharedIndexInformer{
		r.typed.Networking().V1().Ingresses().Informer(), r.typed.Core().V1().Services().Informer(),
		r.typed.Core().V1().Secrets().Informer(), r.typed.Core().V1().Namespaces().Informer(),
		r.typed.Discovery().V1().EndpointSlices().Informer(),
	} {
		_, _ = i.AddEventHandler(handler)
	}
	if !gateways {
		return
	}
	for _, name := range []string{"gatewayclasses", "gateways", "httproutes"} {
		gvr := gatewayResource(name)
		i := r.untyped.ForResource(gvr)
		_, _ = i.Informer().AddEventHandler(handler)
		r.lists[gvr] = i.Lister()
	}
}

func gatewayResource(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: name}
}
