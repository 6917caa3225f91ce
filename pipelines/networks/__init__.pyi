from .alexnets import AlexNet as AlexNet
from .alexnets import SmallAlexNet as SmallAlexNet
from .chest_cnn import ChestCNN as ChestCNN
from .code_classifier import CodeClassifier as CodeClassifier
from .code_classifier import EncodedClassifier as EncodedClassifier
from .conv_autoencoder import ConvAutoencoder as ConvAutoencoder
from .dcgan import DCGANDiscriminator as DCGANDiscriminator
from .dcgan import DCGANGenerator as DCGANGenerator
from .efficientnet_lite import EfficientNetLite0 as EfficientNetLite0
from .encoder_unet import EncoderUNet as EncoderUNet
from .lesion_unet import LesionUNet as LesionUNet
from .lung_frame import (
    LungFrame as LungFrame,
)
from .lung_frame import (
    LungFramedClassifier as LungFramedClassifier,
)
from .lung_frame import (
    TwoViewClassifier as TwoViewClassifier,
)
from .mobilenetv2_unet import MobileNetV2UNet as MobileNetV2UNet
from .pretrained import parameter_groups as parameter_groups
from .pretrained import prepare_encoder as prepare_encoder
from .severity_resnet import SeverityResNet as SeverityResNet
from .severity_shufflenet import SeverityShuffleNet as SeverityShuffleNet
from .tiny_unet import TinyUNet as TinyUNet
from .transfer import TransferClassifier as TransferClassifier
from .transfer import VGG16Transfer as VGG16Transfer
