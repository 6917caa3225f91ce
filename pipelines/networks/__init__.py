"""Architectures that MONAI and torchvision lack, one a file (their promises: tests/networks/test_contract.py)."""

from __future__ import annotations

from pipelines.networks.alexnets import AlexNet, SmallAlexNet
from pipelines.networks.chest_cnn import ChestCNN
from pipelines.networks.code_classifier import CodeClassifier, EncodedClassifier
from pipelines.networks.conv_autoencoder import ConvAutoencoder
from pipelines.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from pipelines.networks.efficientnet_lite import EfficientNetLite0
from pipelines.networks.encoder_unet import EncoderUNet
from pipelines.networks.lesion_unet import LesionUNet
from pipelines.networks.lung_frame import LungFrame, LungFramedClassifier, TwoViewClassifier
from pipelines.networks.mobilenetv2_unet import MobileNetV2UNet
from pipelines.networks.pretrained import parameter_groups, prepare_encoder
from pipelines.networks.severity_resnet import SeverityResNet
from pipelines.networks.severity_shufflenet import SeverityShuffleNet
from pipelines.networks.tiny_unet import TinyUNet
from pipelines.networks.transfer import TransferClassifier, VGG16Transfer

__all__ = [
    "AlexNet",
    "ChestCNN",
    "CodeClassifier",
    "ConvAutoencoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "EfficientNetLite0",
    "EncodedClassifier",
    "EncoderUNet",
    "LesionUNet",
    "LungFrame",
    "LungFramedClassifier",
    "MobileNetV2UNet",
    "SeverityResNet",
    "SeverityShuffleNet",
    "SmallAlexNet",
    "TinyUNet",
    "TransferClassifier",
    "TwoViewClassifier",
    "VGG16Transfer",
    "parameter_groups",
    "prepare_encoder",
]
