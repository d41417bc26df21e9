package kubetest

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

//go:embed addons/*.yaml
var addons embed.FS

// fieldManager owns what this package applies.
const fieldManager = "kubetest"

// Apply makes the objects of a YAML text (documents divided by ---) exist, with
// strict validation of fields, in the order in which they stand.
func (c *Cluster) Apply(ctx context.Context, text []byte) error {
	objects, err := decode(text)
	if err != nil {
		return fmt.Errorf("kubetest: apply: %w", err)
	}
	client, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("kubetest: apply: %w", err)
	}
	groups, err := restmapper.GetAPIGroupResources(c.client.Discovery())
	if err != nil {
		return fmt.Errorf("kubetest: apply: %w", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	for _, o := range objects {
		kind := o.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) { // perhaps one of the objects before defines it
			mapping, err = c.defined(ctx, o)
		}
		if err != nil {
			return fmt.Errorf("kubetest: apply: %w", err)
		}
		var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
		if o.GetNamespace() != "" {
			resource = client.Resource(mapping.Resource).Namespace(o.GetNamespace())
		}
		options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
		if _, err := resource.Apply(ctx, o.GetName(), o, options); err != nil {
			return fmt.Errorf("kubetest: apply %s %s: %w", kind.Kind, o.GetName(), err)
		}
	}
	return nil
}

// defined waits until the API server knows a kind.
func (c *Cluster) defined(ctx context.Context, o *unstructured.Unstructured) (mapping *meta.RESTMapping, err error) {
	kind := o.GroupVersionKind()
	wait := c.await(ctx, "definition of "+kind.Kind, func(context.Context) (bool, error) {
		groups, err := restmapper.GetAPIGroupResources(c.client.Discovery())
		if err != nil {
			return false, nil //nolint:nilerr // asked again until patience ends
		}
		mapping, err = restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(kind.GroupKind(), kind.Version)
		return err == nil, nil
	})
	return mapping, wait
}

func decode(text []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	const buffer = 4096
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), buffer)
	for {
		o := &unstructured.Unstructured{}
		if err := d.Decode(o); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
}

// install applies what the options ask for, without waiting for pods.
func (c *Cluster) install(ctx context.Context) error {
	o := c.m.options
	var texts [][]byte
	add := func(text []byte, err error) error {
		texts = append(texts, text)
		return err
	}
	err := add(addons.ReadFile("addons/storage.yaml"))
	if !o.NoDNS {
		err = errors.Join(err, add(addons.ReadFile("addons/dns.yaml")))
	}
	if o.MetalLB {
		err = errors.Join(err, add(c.m.metallb()))
	}
	if o.Gateway {
		err = errors.Join(err, add(c.m.definitions("gateway")))
	}
	if o.Router {
		err = errors.Join(err, add(addons.ReadFile("addons/router.yaml")))
	}
	if err != nil {
		return err
	}
	for _, text := range texts {
		if err := c.Apply(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// finish waits for the pods of what was installed, and configures it.
func (c *Cluster) finish(ctx context.Context) error {
	o := c.m.options
	for _, d := range []struct {
		wanted          bool
		namespace, name string
	}{
		{!o.NoDNS, metav1.NamespaceSystem, "coredns"},
		{o.Router, "router", "router"},
		{o.MetalLB, "metallb-system", "controller"},
	} {
		if !d.wanted {
			continue
		}
		if err := c.WaitDeployment(ctx, d.namespace, d.name); err != nil {
			return err
		}
	}
	if !o.MetalLB {
		return nil
	}
	if err := c.waitSpeakers(ctx); err != nil {
		return err
	}
	pools, err := addons.ReadFile("addons/pools.yaml")
	if err != nil {
		return err
	}
	// The webhook that checks pools answers a moment after it says it is ready.
	return c.await(ctx, "MetalLB's webhook", func(ctx context.Context) (bool, error) {
		return c.Apply(ctx, pools) == nil, nil
	})
}

// waitSpeakers waits until MetalLB can announce from every node.
func (c *Cluster) waitSpeakers(ctx context.Context) error {
	return c.await(ctx, "MetalLB's speakers", func(ctx context.Context) (bool, error) {
		d, err := c.client.AppsV1().DaemonSets("metallb-system").Get(ctx, "speaker", metav1.GetOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // asked again until patience ends
		}
		return d.Status.ObservedGeneration == d.Generation && int(d.Status.NumberReady) == c.m.options.Nodes, nil
	})
}

// WaitDeployment waits until all replicas of a Deployment are available.
func (c *Cluster) WaitDeployment(ctx context.Context, namespace, name string) error {
	return c.await(ctx, "deployment "+name, func(ctx context.Context) (bool, error) {
		d, err := c.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // asked again until patience ends
		}
		return d.Status.ObservedGeneration == d.Generation && d.Spec.Replicas != nil &&
			d.Status.AvailableReplicas == *d.Spec.Replicas && d.Status.UpdatedReplicas == *d.Spec.Replicas, nil
	})
}
