"""Networks that metrics look through: which files they are. A metric's name covers these exact weights."""

from cfbench.specs import Asset

#: The trunk of LPIPS: torchvision's AlexNet (`AlexNet_Weights.IMAGENET1K_V1`).
ALEXNET = Asset(
    name="alexnet-owt-7be5be79.pth",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    checksum="sha256:7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    size=244_408_911,
    place="torch",
    licence="BSD-3-Clause (torchvision)",
)
#: The linear heads of LPIPS v0.1 for AlexNet; they come with the `lpips` wheel.
LPIPS_HEADS = "sha256:df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
#: The Inception network of FID, ported from TensorFlow's `inception-2015-12-05` by pytorch-fid.
INCEPTION = Asset(
    name="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    checksum="sha256:6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size=95_628_359,
    place="torch",
    licence="Apache-2.0 (pytorch-fid)",
)
