"""IDRiD: fundus photographs with grades of retinopathy, and lesions drawn pixel by pixel."""
