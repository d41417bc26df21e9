package kubetest

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"

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

// install applies what every cluster has, and waits for cluster DNS.
func (c *Cluster) install(ctx context.Context) error {
	names := []string{"storage"}
	if !c.m.options.NoDNS {
		names = append(names, "dns")
	}
	for _, name := range names {
		text, err := addons.ReadFile("addons/" + name + ".yaml")
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, text); err != nil {
			return err
		}
	}
	return nil
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
